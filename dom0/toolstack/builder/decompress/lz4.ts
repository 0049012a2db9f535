// LZ4 as kernels carry it: the legacy frame (magic 02 21 4c 18), then blocks of a 4-byte size and data, each
// unpacking to at most 8 MiB.
import { DecompressError, Output, type DecompressLimits } from './output.ts';

const MAGIC = 0x184c2102;
const BLOCK_BYTES = 0x80_0000;

const u32 = (b: Uint8Array, at: number): number => (b[at]! | b[at + 1]! << 8 | b[at + 2]! << 16 | b[at + 3]! << 24) >>> 0;

/** Unpacks a legacy LZ4 frame. Up to four bytes after the last block are ignored. */
export function unlz4Legacy(input: Uint8Array, limits: DecompressLimits): Uint8Array {
  if (input.length < 8 || u32(input, 0) !== MAGIC) throw new DecompressError('the LZ4 header is damaged');
  // Room for a whole block is asked for each time, so the last one would grow an output of the exact size.
  const out = new Output({ maxBytes: limits.maxBytes, expectedBytes: (limits.expectedBytes ?? 0) + BLOCK_BYTES });
  let at = 4;
  while (input.length - at > 4) {
    const size = u32(input, at);
    at += 4;
    if (size === MAGIC) continue;
    if (size === 0) break;
    if (size > input.length - at) throw new DecompressError('the LZ4 data ends too early');
    unlz4Block(input, at, at + size, out);
    at += size;
  }
  return out.finish();
}

/** Unpacks the block input[at..end) behind what `out` holds; matches reach back to the block's start only. */
function unlz4Block(input: Uint8Array, at: number, end: number, out: Output): void {
  const start = out.length;
  const limit = Math.min(start + BLOCK_BYTES, out.maxBytes);
  const bytes = out.reserve(limit - start);
  let o = start;
  while (at < end) {
    const token = input[at++]!;
    let literals = token >>> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255 && at < end) { more = input[at++]!; literals += more; }
    }
    if (literals > end - at) throw new DecompressError('the LZ4 data is damaged (literals run past the block)');
    if (literals > limit - o) throw new DecompressError('the LZ4 data unpacks to more than allowed');
    if (literals > 48) {
      bytes.set(input.subarray(at, at + literals), o);
      at += literals; o += literals;
    } else {
      for (const stop = at + literals; at < stop;) bytes[o++] = input[at++]!;
    }
    if (at >= end) break;

    if (end - at < 2) throw new DecompressError('the LZ4 data ends too early');
    const distance = input[at]! | input[at + 1]! << 8;
    at += 2;
    let length = (token & 15) + 4;
    if (length === 19) {
      let more = 255;
      while (more === 255 && at < end) { more = input[at++]!; length += more; }
    }
    if (distance === 0 || distance > o - start) throw new DecompressError('the LZ4 data is damaged (a match reaches before the block)');
    if (length > limit - o) throw new DecompressError('the LZ4 data unpacks to more than allowed');
    if (length > 64 && distance >= length) {
      bytes.copyWithin(o, o - distance, o - distance + length);
      o += length;
    } else {
      for (let from = o - distance, stop = o + length; o < stop;) bytes[o++] = bytes[from++]!;
    }
  }
  out.length = o;
}
