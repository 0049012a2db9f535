import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, linkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FileNode } from './node.ts';
import { openTar } from './tar.ts';

const dir = mkdtempSync(join(tmpdir(), 'tar-')), long = 'a-long-name-'.repeat(12), target = `${'far/'.repeat(40)}away`;
beforeAll(() => {
  mkdirSync(join(dir, 'tree/sub'), { recursive: true });
  writeFileSync(join(dir, 'tree/sub/file'), 'contents\n');
  writeFileSync(join(dir, 'tree', long), 'long\n');
  symlinkSync(target, join(dir, 'tree/link'));
  linkSync(join(dir, 'tree/sub/file'), join(dir, 'tree/hard'));
});
afterAll(() => { rmSync(dir, { recursive: true }); });
const tar = (...args: string[]): Uint8Array => {
  const { stdout, stderr, status } = spawnSync('tar', ['-C', join(dir, 'tree'), '-cf', '-', ...args], { maxBuffer: 1 << 24 });
  if (status !== 0) throw new Error(String(stderr));
  return stdout;
};
const contents = (node: FileNode | undefined): string => { const into = new Uint8Array(node!.size); node!.read(0, into); return new TextDecoder().decode(into); };

describe('an archive', () => {
  test.each(['gnu', 'pax'])('in the form %s: files, long names and targets, links', format => {
    const root = openTar(tar(`--format=${format}`, '.'));
    expect(contents(root.lookup('sub')!.lookup('file'))).toBe('contents\n');
    expect(contents(root.lookup('hard'))).toBe('contents\n');
    expect(contents(root.lookup(long))).toBe('long\n');
    expect(root.lookup('link')!.target()).toBe(target);
  });
  test('in the oldest form, without a name for itself', () => { expect(contents(openTar(tar('--format=v7', 'sub')).lookup('sub')!.lookup('file'))).toBe('contents\n'); });
  test('with a time before 1970', () => { expect(openTar(tar('--mtime=@-86400', 'sub')).lookup('sub')!.lookup('file')!.times().modified).toBe(0n); });
});
describe('what is not an archive, or not a whole one, is said', () => {
  /** A header with another size, and the sum that goes with it. */
  const withSize = (digits: string): Uint8Array => {
    const archive = Uint8Array.from(tar('sub/file'));
    archive.set(new TextEncoder().encode(digits), 124);
    archive.fill(0x20, 148, 156);
    archive.set(new TextEncoder().encode(`${archive.subarray(0, 512).reduce((sum, b) => sum + b, 0).toString(8).padStart(6, '0')}\0`), 148);
    return archive;
  };
  test.each<[string, () => Uint8Array, RegExp]>([
    ['something else', () => new TextEncoder().encode('070701'.repeat(200)), /is not a tar archive/],
    ['cut', () => tar('sub/file').subarray(0, 516), /ends in the middle of sub\/file/],
    ['broken', () => { const archive = Uint8Array.from(tar('sub/file', 'hard')); archive[1024] = 1; return archive; }, /broken at byte 1024/],
    ['of a size that leads back', () => withSize('-0000001000\0'), /ends in the middle/],
    ['of a size that is none', () => withSize('abc'), /ends in the middle/],
    ['with a sparse file', () => { writeFileSync(join(dir, 'tree/holes'), ''); truncateSync(join(dir, 'tree/holes'), 1 << 20); return tar('--format=gnu', '--sparse', 'holes'); }, /holes as a sparse file/],
  ])('%s', (_, archive, sentence) => { expect(() => openTar(archive())).toThrow(sentence); });
});
