import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { Cpio } from './cpio.ts';
import { readDeb } from './deb.ts';
import { ImageError } from './image-error.ts';
import { makeAr, makeDeb, makeTar } from './make-archives.ts';
import { readTar } from './tar.ts';

const FILES = makeTar([{ path: './boot/', type: '5' }, { path: './boot/vmlinuz-1', data: 'kernel' }, { path: 'usr/bin/sh', type: '2', link: 'dash' }]);

describe('tar', () => {
  it('lists files, directories and links with clean paths', () => {
    expect([...readTar(FILES)].map((e) => [e.path, e.type, e.link, Buffer.from(e.data).toString()])).toEqual([
      ['boot', 'directory', '', ''], ['boot/vmlinuz-1', 'file', '', 'kernel'], ['usr/bin/sh', 'symlink', 'dash', '']]);
  });
  it('takes long names in GNU and in pax form', () => {
    const long = `${'d/'.repeat(100)}file`;
    const gnu = makeTar([{ path: '././@LongLink', type: 'L', data: `${long}\0` }, { path: 'short', data: 'x' }, { path: 'next', data: 'y' }]);
    expect([...readTar(gnu)].map((e) => e.path)).toEqual([long, 'next']);
    const pax = makeTar([{ path: 'PaxHeader', type: 'x', data: `${long.length + 10} path=${long}\n` }, { path: 'short', data: 'x' }]);
    expect([...readTar(pax)].map((e) => e.path)).toEqual([long]);
  });
  it('a size beyond the end is an error', () => {
    const broken = Buffer.from(FILES);
    broken.write('77777777777', 512 + 124, 'latin1');
    expect(() => [...readTar(broken)]).toThrow(ImageError);
  });
});

describe('deb', () => {
  it.each([['data.tar', FILES], ['data.tar.gz', gzipSync(FILES)], ['data.tar.zst', zstdCompressSync(FILES)]])('%s', (name, data) => {
    expect([...readDeb(makeDeb(name, data))].map((e) => e.path)).toEqual(['boot', 'boot/vmlinuz-1', 'usr/bin/sh']);
  });
  it.each([
    ['no archive', Buffer.from('<html>not found</html>'), /no ar archive/],
    ['half a download', makeDeb('data.tar', FILES).subarray(0, 1900), /not downloaded whole/],
    ['no data', makeAr([['debian-binary', Buffer.from('2.0\n')]]), /no data archive/],
    ['damaged data', makeDeb('data.tar.gz', gzipSync(FILES).subarray(0, 40)), /cannot be unpacked/],
    ['other compression', makeDeb('data.tar.br', Buffer.from('??????')), /unknown compression/],
  ])('%s', (_, bytes, sentence) => {
    expect(() => [...readDeb(bytes)]).toThrow(sentence);
  });
});

/** Reads newc archives back, one after another as the kernel does. */
function readCpio(bytes: Buffer): { path: string; mode: number; data: string; rdev: string }[] {
  const entries = [];
  for (let at = 0; at + 110 <= bytes.length;) {
    if (bytes[at] === 0) { at += 4; continue; }
    const field = (i: number): number => parseInt(bytes.toString('latin1', at + 6 + i * 8, at + 14 + i * 8), 16);
    expect(bytes.toString('latin1', at, at + 6)).toBe('070701');
    const size = field(6), nameSize = field(11), path = bytes.toString('utf8', at + 110, at + 110 + nameSize - 1);
    const dataAt = Math.ceil((at + 110 + nameSize) / 4) * 4;
    if (path !== 'TRAILER!!!') entries.push({ path, mode: field(1), data: bytes.toString('utf8', dataAt, dataAt + size), rdev: `${field(9)}:${field(10)}` });
    at = Math.ceil((dataAt + size) / 4) * 4;
  }
  return entries;
}

it('cpio: what is written can be read, parents come first and once', () => {
  const archive = new Cpio().file('a/b/one', 'text').file('a/b/two', 'more').symlink('a/link', 'b/one').charDevice('dev/null', 1, 3, 0o666).finish();
  expect(archive.length % 512).toBe(0);
  expect(readCpio(Buffer.from(archive)).map((e) => `${e.path} ${e.mode.toString(8)} ${e.data} ${e.rdev}`)).toEqual([
    'a 40755  0:0', 'a/b 40755  0:0', 'a/b/one 100644 text 0:0', 'a/b/two 100644 more 0:0', 'a/link 120777 b/one 0:0', 'dev 40755  0:0', 'dev/null 20666  1:3']);
  const two = Buffer.concat([archive, new Cpio().file('c', 'd').finish()]);
  expect(readCpio(two).at(-1)).toMatchObject({ path: 'c', data: 'd' });
});
