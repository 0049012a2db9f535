// bzip2: Huffman-coded, move-to-front, run-length and Burrows-Wheeler transformed blocks of up to 900 kB.
import { DecompressError, Output, type DecompressLimits } from './output.ts';

const MAX_CODE_BITS = 20;
const GROUP = 50;

const damaged = (what: string): DecompressError => new DecompressError(`the bzip2 data is damaged (${what})`);

/** Reads bits from the most significant end. Past the end of the data it throws. */
class Bits {
  private at = 0;
  private held = 0;
  private count = 0;
  private readonly input: Uint8Array;
  constructor(input: Uint8Array) { this.input = input; }
  /** 1 to 24 bits. */
  read(n: number): number {
    while (this.count < n) {
      if (this.at >= this.input.length) throw new DecompressError('the bzip2 data ends too early');
      this.held = this.held << 8 | this.input[this.at++]!;
      this.count += 8;
    }
    this.count -= n;
    return this.held >>> this.count & (1 << n) - 1;
  }
  align(): void { this.count -= this.count % 8; }
  /** Bytes not yet touched, bits in hand counted as read once aligned. */
  get left(): number { return this.input.length - this.at + (this.count >> 3); }
}

/** Canonical Huffman table: for each length, the largest code and where its symbols start. */
interface Huffman { readonly limit: Int32Array; readonly base: Int32Array; readonly symbols: Uint16Array; readonly min: number }

function huffman(lengths: Uint8Array): Huffman {
  const counts = new Int32Array(MAX_CODE_BITS + 2);
  for (const l of lengths) counts[l]!++;
  const limit = new Int32Array(MAX_CODE_BITS + 2).fill(-1), base = new Int32Array(MAX_CODE_BITS + 2);
  const symbols = new Uint16Array(lengths.length);
  let code = 0, index = 0, min = MAX_CODE_BITS;
  for (let l = 1; l <= MAX_CODE_BITS; l++) {
    if (counts[l]! > 0 && l < min) min = l;
    base[l] = index - code;
    for (let s = 0; s < lengths.length; s++) if (lengths[s] === l) { symbols[index++] = s; code++; }
    if (code > 1 << l) throw damaged('impossible code lengths');
    if (counts[l]! > 0) limit[l] = code - 1;
    code <<= 1;
  }
  return { limit, base, symbols, min };
}

function decodeSymbol(bits: Bits, h: Huffman): number {
  let length = h.min, code = bits.read(length);
  while (code > h.limit[length]!) {
    if (++length > MAX_CODE_BITS) throw damaged('unknown code');
    code = code << 1 | bits.read(1);
  }
  const symbol = h.symbols[code + h.base[length]!];
  if (symbol === undefined) throw damaged('unknown code');
  return symbol;
}

function readSymbolMap(bits: Bits): Uint8Array {
  const used: number[] = [];
  const rows = bits.read(16);
  for (let row = 0; row < 16; row++) {
    if (!(rows & 0x8000 >> row)) continue;
    const columns = bits.read(16);
    for (let c = 0; c < 16; c++) if (columns & 0x8000 >> c) used.push(row * 16 + c);
  }
  if (used.length === 0) throw damaged('no symbols');
  return Uint8Array.from(used);
}

function readSelectors(bits: Bits, groups: number): Uint8Array {
  const count = bits.read(15);
  if (count === 0) throw damaged('no selectors');
  const order = [0, 1, 2, 3, 4, 5];
  const selectors = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    let j = 0;
    while (bits.read(1)) if (++j >= groups) throw damaged('bad selector');
    const [g] = order.splice(j, 1);
    order.unshift(g!);
    selectors[i] = g!;
  }
  return selectors;
}

function readLengths(bits: Bits, symbols: number): Uint8Array {
  const lengths = new Uint8Array(symbols);
  let length = bits.read(5);
  for (let s = 0; s < symbols; s++) {
    while (bits.read(1)) length += bits.read(1) ? -1 : 1;
    if (length < 1 || length > MAX_CODE_BITS) throw damaged('bad code length');
    lengths[s] = length;
  }
  return lengths;
}

/** Reads one block's symbols into `block` (last column of the transform); returns how many. */
function readColumn(bits: Bits, block: Uint32Array): number {
  const mtf = readSymbolMap(bits);
  const symbols = mtf.length + 2, end = mtf.length + 1;
  const groups = bits.read(3);
  if (groups < 2 || groups > 6) throw damaged('bad number of code tables');
  const selectors = readSelectors(bits, groups);
  const tables = Array.from({ length: groups }, () => huffman(readLengths(bits, symbols)));
  let count = 0, run = 0, weight = 1, selector = 0, left = 0;
  let table = tables[0]!;
  for (;;) {
    if (left === 0) {
      if (selector >= selectors.length) throw damaged('too few selectors');
      table = tables[selectors[selector++]!]!;
      left = GROUP;
    }
    left--;
    const symbol = decodeSymbol(bits, table);
    if (symbol <= 1) {
      run += weight << symbol;
      weight <<= 1;
      if (run > block.length) throw damaged('run too long');
      continue;
    }
    if (run > 0) {
      if (run > block.length - count) throw damaged('block too long');
      block.fill(mtf[0]!, count, count + run);
      count += run; run = 0; weight = 1;
    }
    if (symbol === end) return count;
    if (count >= block.length) throw damaged('block too long');
    const byte = mtf[symbol - 1]!;
    mtf.copyWithin(1, 0, symbol - 1);
    mtf[0] = byte;
    block[count++] = byte;
  }
}

/** Undoes the Burrows-Wheeler transform in place: afterwards block[i] >>> 8 is the successor of i. */
function link(block: Uint32Array, count: number): void {
  const starts = new Int32Array(256);
  for (let i = 0; i < count; i++) starts[block[i]! & 0xff]!++;
  for (let b = 0, sum = 0; b < 256; b++) { const n = starts[b]!; starts[b] = sum; sum += n; }
  for (let i = 0; i < count; i++) {
    const b = block[i]! & 0xff;
    block[starts[b]!]! |= i << 8;
    starts[b]!++;
  }
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, i) => {
  let c = i << 24;
  for (let k = 0; k < 8; k++) c = c & 0x80000000 ? c << 1 ^ 0x04c11db7 : c << 1;
  return c;
});

/** Follows the links from `origin`, expands runs of four, appends to `out`; returns the block's CRC. */
function expand(block: Uint32Array, count: number, origin: number, out: Output): number {
  let position = block[origin]! >>> 8, same = 0, previous = -1, crc = -1;
  let bytes = out.reserve(Math.min(count, out.maxBytes - out.length)), o = out.length;
  for (let i = 0; i < count; i++) {
    const entry = block[position]!;
    const byte = entry & 0xff;
    position = entry >>> 8;
    let repeat = 1, value = byte;
    if (same === 4) { repeat = byte; value = previous; same = 0; previous = -1; }
    else if (byte === previous) same++;
    else { same = 1; previous = byte; }
    if (o + repeat > bytes.length) { out.length = o; bytes = out.reserve(repeat); }
    for (let r = 0; r < repeat; r++) {
      bytes[o++] = value;
      crc = crc << 8 ^ CRC_TABLE[(crc >>> 24 ^ value) & 0xff]!;
    }
  }
  if (o > out.maxBytes) throw new DecompressError(`it unpacks to more than ${Math.floor(out.maxBytes / 0x100000)} MiB`);
  out.length = o;
  return ~crc >>> 0;
}

/** Unpacks a bzip2 file (one or more streams). Anything that does not start another stream is ignored. */
export function unbzip2(input: Uint8Array, limits: DecompressLimits): Uint8Array {
  const bits = new Bits(input);
  const out = new Output(limits);
  for (let streams = 0; ; streams++) {
    if (streams > 0 && bits.left < 14) return out.finish();
    const magic = bits.read(24), level = bits.read(8) - 0x30;
    if (magic !== 0x425a68 || level < 1 || level > 9) {
      if (streams > 0) return out.finish();
      throw damaged('bad header');
    }
    readStream(bits, level, out);
    bits.align();
  }
}

function readStream(bits: Bits, level: number, out: Output): void {
  const block = new Uint32Array(level * 100_000);
  let combined = 0;
  const crc = (): number => (bits.read(16) << 16 | bits.read(16)) >>> 0;
  for (;;) {
    const high = bits.read(24), low = bits.read(24);
    const expected = crc();
    if (high === 0x177245 && low === 0x385090) {
      if (expected !== combined) throw damaged('checksum mismatch');
      return;
    }
    if (high !== 0x314159 || low !== 0x265359) throw damaged('bad block header');
    if (bits.read(1)) throw new DecompressError('its bzip2 data uses the obsolete randomised form, which is not supported');
    const origin = bits.read(24);
    const count = readColumn(bits, block);
    if (origin >= count) throw damaged('bad origin');
    link(block, count);
    if (expand(block, count, origin, out) !== expected) throw damaged('checksum mismatch');
    combined = ((combined << 1 | combined >>> 31) ^ expected) >>> 0;
  }
}
