// LZO1X inside an lzop file, as kernels with LZO payloads carry it.
import { crc32 } from 'node:zlib';
import { DecompressError, Output, type DecompressLimits } from './output.ts';

const MAGIC = [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a];
const F_ADLER32_D = 0x1, F_ADLER32_C = 0x2, F_H_EXTRA_FIELD = 0x40, F_CRC32_D = 0x100, F_CRC32_C = 0x200, F_H_FILTER = 0x800;
const MAX_BLOCK_BYTES = 64 * 0x100000;

/** Reads big-endian fields of the lzop container; a read past the end throws. */
class Fields {
  at = 0;
  readonly input: Uint8Array;
  private readonly view: DataView;
  constructor(input: Uint8Array) {
    this.input = input;
    this.view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  }
  skip(n: number): number {
    const at = this.at;
    if (n > this.input.length - at) throw new DecompressError('the LZO data ends too early');
    this.at += n;
    return at;
  }
  u8(): number { return this.view.getUint8(this.skip(1)); }
  u16(): number { return this.view.getUint16(this.skip(2)); }
  u32(): number { return this.view.getUint32(this.skip(4)); }
}

function adler32(bytes: Uint8Array): number {
  let a = 1, b = 0;
  for (let at = 0; at < bytes.length;) {
    // 5552 bytes is the most that cannot overflow 32 bits before the reduction.
    for (const stop = Math.min(at + 5552, bytes.length); at < stop; at++) { a += bytes[at]!; b += a; }
    a %= 65521; b %= 65521;
  }
  return (b * 65536 + a) >>> 0;
}

function readHeader(f: Fields): number {
  for (const m of MAGIC) if (f.u8() !== m) throw new DecompressError('the LZO header is damaged');
  const version = f.u16();
  f.skip(2);
  if (version >= 0x940) f.skip(2);
  f.skip(1);
  if (version >= 0x940) f.skip(1);
  const flags = f.u32();
  if (flags & F_H_FILTER) throw new DecompressError('its LZO data uses a filter that is not supported');
  f.skip(version >= 0x940 ? 12 : 8);
  f.skip(f.u8());
  f.skip(4);
  if (flags & F_H_EXTRA_FIELD) { f.skip(f.u32()); f.skip(4); }
  return flags;
}

/** Unpacks an lzop file up to its end mark (or the end of the data). */
export function unlzo(input: Uint8Array, limits: DecompressLimits): Uint8Array {
  const f = new Fields(input);
  const flags = readHeader(f);
  const out = new Output(limits);
  while (input.length - f.at >= 4) {
    const size = f.u32();
    if (size === 0) break;
    const packed = f.u32();
    if (size > MAX_BLOCK_BYTES || packed > size) throw new DecompressError('the LZO data is damaged (impossible block size)');
    const adler = flags & F_ADLER32_D ? f.u32() : null;
    const crc = flags & F_CRC32_D ? f.u32() : null;
    if (packed < size) f.skip((flags & F_ADLER32_C ? 4 : 0) + (flags & F_CRC32_C ? 4 : 0));
    const at = f.skip(packed);
    const start = out.length;
    const bytes = out.reserve(size);
    if (packed === size) bytes.set(input.subarray(at, at + size), start);
    else unlzo1x(input, at, at + packed, bytes, start, start + size);
    out.length = start + size;
    const plain = bytes.subarray(start, start + size);
    if ((adler !== null && adler32(plain) !== adler) || (crc !== null && crc32(plain) !== crc)) throw new DecompressError('the LZO data is damaged (checksum mismatch)');
  }
  return out.finish();
}

const early = (): DecompressError => new DecompressError('the LZO data ends too early');

/** Unpacks one LZO1X block input[at..end) to exactly out[o..limit). */
export function unlzo1x(input: Uint8Array, at: number, end: number, out: Uint8Array, o: number, limit: number): void {
  const start = o;
  // What the previous instruction left: 0 nothing, 1-3 that many trailing literals, 4 a literal run.
  let state = 0;

  /** Length above `base` coded as a run of zero bytes of 255 each and one non-zero byte. */
  const extended = (base: number): number => {
    let n = base;
    for (;;) {
      if (at >= end) throw early();
      const b = input[at++]!;
      if (b !== 0) return n + b;
      n += 255;
      if (n > limit - start + 512) throw new DecompressError('the LZO data is damaged (length too large)');
    }
  };
  const literals = (n: number): void => {
    if (n > end - at) throw early();
    if (n > limit - o) throw new DecompressError('the LZO data unpacks to more than it says');
    for (const stop = o + n; o < stop;) out[o++] = input[at++]!;
  };

  if (at >= end) throw early();
  if (input[at]! > 17) {
    const n = input[at++]! - 17;
    literals(n);
    state = Math.min(n, 4);
  }
  for (;;) {
    if (at >= end) throw early();
    const t = input[at++]!;
    let length: number, distance: number, next: number;
    if (t < 16) {
      if (state === 0) { literals(3 + (t === 0 ? extended(15) : t)); state = 4; continue; }
      if (at >= end) throw early();
      const high = input[at++]! << 2;
      next = t & 3;
      if (state === 4) { length = 3; distance = high + (t >> 2) + 2049; } else { length = 2; distance = high + (t >> 2) + 1; }
    } else if (t >= 64) {
      if (at >= end) throw early();
      distance = (input[at++]! << 3) + (t >> 2 & 7) + 1;
      length = (t >> 5) + 1;
      next = t & 3;
    } else {
      const field = t >= 32 ? t & 31 : t & 7;
      length = 2 + (field === 0 ? extended(t >= 32 ? 31 : 7) : field);
      if (end - at < 2) throw early();
      const word = input[at]! | input[at + 1]! << 8;
      at += 2;
      next = word & 3;
      if (t >= 32) distance = (word >> 2) + 1;
      else {
        distance = ((t & 8) << 11) + (word >> 2) + 0x4000;
        if (distance === 0x4000) break;
      }
    }
    if (distance > o - start) throw new DecompressError('the LZO data is damaged (a match reaches before the block)');
    if (length > limit - o) throw new DecompressError('the LZO data unpacks to more than it says');
    for (let from = o - distance, stop = o + length; o < stop;) out[o++] = out[from++]!;
    state = next;
    literals(next);
  }
  if (o !== limit) throw new DecompressError('the LZO data unpacks to less than it says');
}
