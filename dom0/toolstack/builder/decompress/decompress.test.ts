import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { unfilterX86 } from './bcj-x86.ts';
import { crc64 } from './crc64.ts';
import { fixture, FIXTURE_NAMES, fixtureText } from './fixtures.ts';
import { decompress, DecompressError, detectCompression } from './index.ts';

const LIMITS = { maxBytes: 1 << 26 };
const unpack = (bytes: Uint8Array, limits = LIMITS): Buffer => Buffer.from(decompress(detectCompression(bytes)!, bytes, limits));

/** A small deterministic generator, so that a failing case can be named. */
function random(seed: number): () => number {
  return () => (seed = Math.imul(seed ^ seed >>> 15, 0x2c1b3c6d) + 0x9e3779b9 | 0) >>> 0;
}

describe('fixtures', () => {
  it.each(FIXTURE_NAMES)('%s', (name) => {
    expect(unpack(fixture(name)).equals(fixtureText())).toBe(true);
  });
  it('gzip and zstd', () => {
    expect(unpack(gzipSync(fixtureText())).equals(fixtureText())).toBe(true);
    expect(unpack(zstdCompressSync(fixtureText())).equals(fixtureText())).toBe(true);
  });
  it.each(FIXTURE_NAMES)('%s: bytes behind it (a kernel\'s size trailer) do not matter', (name) => {
    expect(unpack(Buffer.concat([fixture(name), Buffer.from([0x4c, 0x0d, 0, 0])])).equals(fixtureText())).toBe(true);
  });
});

describe('hostile input', () => {
  const all = [...FIXTURE_NAMES.map((n) => [n, fixture(n)] as const), ['gzip', gzipSync(fixtureText())] as const, ['zstd', zstdCompressSync(fixtureText())] as const];

  it.each(all)('%s: output is bounded', (_, bytes) => {
    expect(() => unpack(bytes, { maxBytes: 3000 })).toThrow(DecompressError);
  });

  it.each(all)('%s: truncated anywhere, it fails in a sentence or yields less', (name, bytes) => {
    const compression = detectCompression(bytes)!;
    for (let n = 0; n < bytes.length - 1; n++) {
      try {
        // Formats whose end is not marked may be cut between blocks.
        expect(decompress(compression, bytes.subarray(0, n), LIMITS).length, `${name} cut at ${n}`).toBeLessThanOrEqual(fixtureText().length);
      } catch (error) {
        expect(error, `${name} cut at ${n}`).toBeInstanceOf(DecompressError);
      }
    }
  });

  it.each(all)('%s: with bytes changed, it fails in a sentence or stays within bounds', (name, bytes) => {
    const next = random(bytes.length), compression = detectCompression(bytes)!;
    for (let round = 0; round < 1500; round++) {
      const broken = Buffer.from(bytes);
      for (let k = next() % 3; k >= 0; k--) broken[next() % broken.length] = next();
      try {
        expect(decompress(compression, broken, { maxBytes: 1 << 20 }).length).toBeLessThanOrEqual(1 << 20);
      } catch (error) {
        expect(error, `${name} round ${round}: ${String(error)}`).toBeInstanceOf(DecompressError);
      }
    }
  });

  it('XZ and bzip2 notice every changed byte of their data', () => {
    for (const name of ['xz', 'xzX86Sha256', 'bzip2'] as const) {
      const bytes = fixture(name);
      for (let at = 40; at < bytes.length - 40; at += 7) {
        const broken = Buffer.from(bytes);
        broken[at]! ^= 0x10;
        expect(() => unpack(broken), `${name} at ${at}`).toThrow(DecompressError);
      }
    }
  });
});

it('CRC-64 of the check string', () => {
  expect(crc64(Buffer.from('123456789'))).toBe(0x995dc9bbdf1939fan);
});

it('the x86 filter turns absolute branch targets back, and leaves other bytes', () => {
  const code = Buffer.from([0x90, 0xe8, 0x16, 0x00, 0x00, 0x00, 0x90, 0xe8, 0x11, 0x22, 0x33, 0x44, 0x90, 0x90, 0x90]);
  unfilterX86(code, 0, code.length);
  expect(code.toString('hex')).toBe(Buffer.from([0x90, 0xe8, 0x10, 0x00, 0x00, 0x00, 0x90, 0xe8, 0x11, 0x22, 0x33, 0x44, 0x90, 0x90, 0x90]).toString('hex'));
});

/** Program-like data: x86 code of this very Node, with what makes the filters and long matches work. */
function programData(): Buffer {
  const next = random(7), data = Buffer.alloc(3_000_000);
  for (let at = 0; at < data.length; at++) data[at] = next() % 5 === 0 ? 0xe8 + next() % 2 : next() % 7 === 0 ? next() : at >> 6;
  for (let k = 0; k < 400; k++) { const from = next() % 2_900_000; data.copyWithin(next() % 2_900_000, from, from + next() % 9000); }
  for (let at = 0; at < data.length - 5; at += 11 + next() % 60) { data[at] = 0xe8; data.writeInt32LE(next() % 0x400000 - at | 0, at + 1); }
  return data;
}

const has = (tool: string): boolean => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined;

describe('against the usual tools', () => {
  const dir = mkdtempSync(join(tmpdir(), 'xenolith-decompress-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const data = programData(), file = join(dir, 'data');
  writeFileSync(file, data);
  const cases: [string, string, string[]][] = [
    ['xz, kernel style', 'xz', ['--check=crc32', '--x86', '--lzma2=preset=6,dict=8MiB', '-c']],
    ['xz, several blocks', 'xz', ['--check=crc64', '--block-size=300000', '-2', '-c']],
    ['xz, lc lp pb', 'xz', ['--check=none', '--x86', '--lzma2=preset=1,lc=1,lp=3,pb=0', '-c']],
    ['xz, incompressible', 'xz', ['--lzma2=preset=0,nice=8', '-c']],
    ['lzma', 'xz', ['--format=lzma', '-3', '-c']],
    ['bzip2', 'bzip2', ['-9', '-c']],
    ['bzip2, small blocks', 'bzip2', ['-1', '-c']],
    ['lz4', 'lz4', ['-l', '-9', '-c']],
    ['lzop', 'lzop', ['-3', '-c']],
    ['lzop, best', 'lzop', ['-9', '-c']],
    ['zstd', 'zstd', ['-19', '-q', '-c']],
    ['gzip', 'gzip', ['-9', '-c']],
  ];
  for (const [title, tool, args] of cases) {
    it.skipIf(!has(tool))(title, () => {
      const packed = execFileSync(tool, [...args, file], { maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'ignore'] });
      expect(unpack(packed).equals(data)).toBe(true);
    });
  }
});
