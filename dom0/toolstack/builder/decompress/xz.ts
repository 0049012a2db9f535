// The XZ container: stream header, blocks (filters, LZMA2, check), index, footer.
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { unfilterX86 } from './bcj-x86.ts';
import { crc64 } from './crc64.ts';
import { LzmaDecoder, withSlack } from './lzma-decoder.ts';
import { DecompressError, Output, type DecompressLimits } from './output.ts';

const FILTER_X86 = 0x04, FILTER_LZMA2 = 0x21;
const FILTER_NAMES: Record<number, string> = { 3: 'delta', 5: 'PowerPC', 6: 'IA-64', 7: 'ARM', 8: 'ARM-Thumb', 9: 'SPARC', 10: 'ARM64', 11: 'RISC-V' };
/** Check size in bytes by check type; the types between are reserved but sized. */
const CHECK_BYTES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];

const damaged = (what: string): DecompressError => new DecompressError(`the XZ data is damaged (${what})`);

interface Block { readonly unpaddedBytes: number; readonly bytes: number }

/** Position in the input, with the few reads the container needs. `end` excludes the slack. */
class Cursor {
  at = 0;
  readonly input: Uint8Array;
  readonly end: number;
  constructor(input: Uint8Array, end: number) { this.input = input; this.end = end; }
  take(n: number): number {
    if (n > this.end - this.at) throw new DecompressError('the XZ data ends too early');
    this.at += n;
    return this.at - n;
  }
  u8(): number { return this.input[this.take(1)]!; }
  u32(): number {
    const at = this.take(4), b = this.input;
    return (b[at]! | b[at + 1]! << 8 | b[at + 2]! << 16 | b[at + 3]! << 24) >>> 0;
  }
  /** Variable-length integer; larger ones than 2^53 are refused. */
  vli(): number {
    let value = 0, scale = 1;
    for (let i = 0; i < 9; i++, scale *= 128) {
      const b = this.u8();
      value += (b & 0x7f) * scale;
      if (b < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER || (b === 0 && i > 0)) throw damaged('bad integer');
        return value;
      }
    }
    throw damaged('bad integer');
  }
}

/** Unpacks the first XZ stream of `bytes`; what follows (a kernel's size trailer) is ignored. */
export function unxz(bytes: Uint8Array, limits: DecompressLimits): Uint8Array {
  const c = new Cursor(withSlack(bytes), bytes.length);
  const expectedBytes = limits.expectedBytes ?? indexedBytes(bytes);
  const out = new Output(expectedBytes === undefined ? limits : { ...limits, expectedBytes });
  const check = readStreamHeader(c);
  const blocks: Block[] = [];
  while (c.input[c.at] !== 0) {
    if (c.at >= c.end) throw new DecompressError('the XZ data ends too early');
    blocks.push(readBlock(c, out, check));
  }
  const indexBytes = readIndex(c, blocks);
  readFooter(c, check, indexBytes);
  return out.finish();
}

/** What the index at the end of a lone XZ file says it unpacks to: a hint that saves growing the output. */
function indexedBytes(bytes: Uint8Array): number | undefined {
  const n = bytes.length;
  if (n < 32 || bytes[n - 2] !== 0x59 || bytes[n - 1] !== 0x5a) return undefined;
  const size = (new DataView(bytes.buffer, bytes.byteOffset).getUint32(n - 8, true) + 1) * 4;
  if (size > n - 24) return undefined;
  try {
    const c = new Cursor(bytes, n - 12);
    c.at = n - 12 - size;
    if (c.u8() !== 0) return undefined;
    let total = 0;
    for (let records = c.vli(); records > 0; records--) { c.vli(); total += c.vli(); }
    return total;
  } catch {
    return undefined;
  }
}

function readStreamHeader(c: Cursor): number {
  for (const m of [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]) if (c.u8() !== m) throw damaged('bad header');
  const at = c.take(2);
  const check = c.input[at + 1]!;
  if (c.input[at] !== 0 || check > 15) throw damaged('unknown stream flags');
  if (crc32(c.input.subarray(at, at + 2)) !== c.u32()) throw damaged('header checksum mismatch');
  return check;
}

function readBlock(c: Cursor, out: Output, check: number): Block {
  const start = c.at;
  const headerBytes = (c.input[start]! + 1) * 4;
  const x86 = readBlockHeader(c, headerBytes);
  const dataAt = c.at, outStart = out.length;
  lzma2(c, out);
  for (const f of x86) unfilterX86(out.bytes, outStart, out.length, f);
  const unpadded = c.at - start;
  while ((c.at - dataAt) % 4 !== 0) if (c.u8() !== 0) throw damaged('bad padding');
  const checkAt = c.take(CHECK_BYTES[check]!);
  verify(check, out.bytes.subarray(outStart, out.length), c.input, checkAt);
  return { unpaddedBytes: unpadded + CHECK_BYTES[check]!, bytes: out.length - outStart };
}

/** Returns the start offsets of the x86 filters to undo, in decoding order. */
function readBlockHeader(c: Cursor, headerBytes: number): number[] {
  const start = c.take(headerBytes), end = c.at;
  const header = new Cursor(c.input, end - 4);
  header.at = start + 1;
  c.at = end - 4;
  if (crc32(c.input.subarray(start, end - 4)) !== c.u32()) throw damaged('block header checksum mismatch');
  const flags = header.u8();
  if (flags & 0x3c) throw damaged('unknown block flags');
  // The sizes are not relied on: LZMA2 says itself where it ends, and the index is compared afterwards.
  if (flags & 0x40) header.vli();
  if (flags & 0x80) header.vli();
  const count = (flags & 3) + 1, x86: number[] = [];
  for (let i = 0; i < count; i++) {
    const id = header.vli(), size = header.vli();
    if (size > header.end - header.at) throw damaged('bad filter properties');
    const last = i === count - 1;
    if (last !== (id === FILTER_LZMA2)) throw new DecompressError('its XZ data does not end in the LZMA2 filter, which is not supported');
    if (id === FILTER_X86 && (size === 0 || size === 4)) x86.unshift(size === 4 ? header.u32() : 0);
    else if (id === FILTER_LZMA2 && size === 1) header.u8();
    else throw new DecompressError(`its XZ data uses the ${FILTER_NAMES[id] ?? `unknown (${id})`} filter, which is not supported`);
  }
  while (header.at < header.end) if (header.u8() !== 0) throw damaged('unknown block header field');
  return x86;
}

/** LZMA2: chunks that are either stored or a range-coded run of known size in and out. */
function lzma2(c: Cursor, out: Output): void {
  const decoder = new LzmaDecoder();
  let dictStart = out.length, needDict = true, needProperties = true, needState = true;
  for (;;) {
    const control = c.u8();
    if (control === 0) return;
    if (control >= 0xe0 || control === 1) { dictStart = out.length; needDict = false; needProperties = control === 1 ? needProperties : false; }
    else if (needDict) throw damaged('no dictionary reset at the start');
    if (control < 0x80) {
      if (control > 2) throw damaged('unknown chunk');
      const size = (c.u8() << 8 | c.u8()) + 1;
      const at = c.take(size);
      out.reserve(size).set(c.input.subarray(at, at + size), out.length);
      out.length += size;
      continue;
    }
    const size = ((control & 0x1f) << 16 | c.u8() << 8 | c.u8()) + 1;
    const packed = (c.u8() << 8 | c.u8()) + 1;
    if (control >= 0xc0) { decoder.setProperties(c.u8(), 4); needProperties = needState = false; }
    else if (needProperties) throw damaged('no properties at the start');
    else if (control >= 0xa0) { decoder.resetState(); needState = false; }
    else if (needState) throw damaged('no state reset at the start');

    const at = c.take(packed), limit = out.length + size;
    if (packed < 5) throw damaged('chunk too short');
    const buffer = out.reserve(size);
    decoder.startRange(c.input, at);
    out.length = decoder.run(c.input, at + packed, buffer, out.length, limit, dictStart);
    if (out.length !== limit || decoder.at !== at + packed || !decoder.finished) throw damaged('chunk sizes do not match');
  }
}

function verify(check: number, data: Uint8Array, input: Uint8Array, at: number): void {
  const view = new DataView(input.buffer, input.byteOffset);
  let ok = true;
  if (check === 1) ok = crc32(data) === view.getUint32(at, true);
  else if (check === 4) ok = crc64(data) === view.getBigUint64(at, true);
  else if (check === 10) ok = createHash('sha256').update(data).digest().equals(input.subarray(at, at + 32));
  if (!ok) throw damaged('checksum mismatch');
}

/** Compares the index with the blocks read; returns its size in bytes. */
function readIndex(c: Cursor, blocks: readonly Block[]): number {
  const start = c.at;
  c.u8();
  if (c.vli() !== blocks.length) throw damaged('index does not match');
  for (const b of blocks) if (c.vli() !== b.unpaddedBytes || c.vli() !== b.bytes) throw damaged('index does not match');
  while ((c.at - start) % 4 !== 0) if (c.u8() !== 0) throw damaged('bad padding');
  const end = c.at;
  if (crc32(c.input.subarray(start, end)) !== c.u32()) throw damaged('index checksum mismatch');
  return c.at - start;
}

function readFooter(c: Cursor, check: number, indexBytes: number): void {
  const crc = c.u32(), at = c.at;
  const backward = c.u32(), flags = c.take(2), magic = c.take(2);
  if (crc32(c.input.subarray(at, at + 6)) !== crc) throw damaged('footer checksum mismatch');
  if ((backward + 1) * 4 !== indexBytes || c.input[flags] !== 0 || c.input[flags + 1] !== check || c.input[magic] !== 0x59 || c.input[magic + 1] !== 0x5a) throw damaged('bad footer');
}
