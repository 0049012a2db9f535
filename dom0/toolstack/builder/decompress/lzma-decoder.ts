// The LZMA symbol decoder that both LZMA (alone) and LZMA2 inside XZ use. The output buffer is the dictionary.
//
// `run` is one long function on purpose: range and code must stay in locals (as fields of an object they would
// be boxed numbers), so each place that decodes a bit carries the few lines that do it. It is the one hot loop
// of starting a domain: 66 MB of kernel through it take about as long as the rest of the build together.
import { DecompressError } from './output.ts';

// Layout of the probability array.
const IS_MATCH = 0;                    // [12 states][16 positions]
const IS_REP = IS_MATCH + 12 * 16;
const IS_REP_G0 = IS_REP + 12;
const IS_REP_G1 = IS_REP_G0 + 12;
const IS_REP_G2 = IS_REP_G1 + 12;
const IS_REP0_LONG = IS_REP_G2 + 12;   // [12][16]
const POS_SLOT = IS_REP0_LONG + 12 * 16; // [4][64]
const POS_SPECIAL = POS_SLOT + 4 * 64; // reverse trees of slots 4 to 13
const ALIGN = POS_SPECIAL + 128;       // [16]
const LEN = ALIGN + 16;                // choice, choice2, low[16][8], mid[16][8], high[256]
const LEN_LOW = 2, LEN_MID = LEN_LOW + 16 * 8, LEN_HIGH = LEN_MID + 16 * 8, LEN_SIZE = LEN_HIGH + 256;
const REP_LEN = LEN + LEN_SIZE;
const LITERAL = REP_LEN + LEN_SIZE;    // [1 << (lc + lp)][0x300]

const TOP = 0x1000000;
const HALF = 1024;
/** A symbol never takes more input than this: 20 or so bits with at most one byte each, doubled. */
export const SYMBOL_INPUT_BYTES = 64;

const damaged = (): DecompressError => new DecompressError('the LZMA data is damaged');

export class LzmaDecoder {
  private probs = new Uint16Array(LITERAL);
  private lc = 0;
  private posMask = 0;
  private literalMask = 0;
  private state = 0;
  private rep0 = 0; private rep1 = 0; private rep2 = 0; private rep3 = 0;
  /** Length of a match that `run` stopped in the middle of. */
  private pending = 0;
  private range = 0;
  private code = 0;
  /** Where the next input byte is read. */
  at = 0;
  /** An end-of-stream marker was met (only LZMA alone may have one). */
  ended = false;

  /** Sets lc, lp and pb from their one-byte form and starts over. */
  setProperties(byte: number, lclpMax: number): void {
    const lc = byte % 9, lp = Math.floor(byte / 9) % 5, pb = Math.floor(byte / 45);
    if (byte >= 225 || lc + lp > lclpMax) throw new DecompressError('the LZMA data has impossible properties');
    this.lc = lc;
    this.posMask = (1 << pb) - 1;
    this.literalMask = (1 << lp) - 1;
    this.probs = new Uint16Array(LITERAL + (0x300 << lc + lp));
    this.resetState();
  }

  resetState(): void {
    this.probs.fill(HALF);
    this.state = 0;
    this.rep0 = this.rep1 = this.rep2 = this.rep3 = 0;
    this.pending = 0;
  }

  /** Reads the five bytes that start a range-coded run. */
  startRange(input: Uint8Array, at: number): void {
    if (input[at] !== 0) throw damaged();
    this.range = 0xffffffff;
    this.code = (input[at + 1]! << 24 | input[at + 2]! << 16 | input[at + 3]! << 8 | input[at + 4]!) >>> 0;
    this.at = at + 5;
  }

  /** True where a range-coded run may end. */
  get finished(): boolean { return this.code === 0 && this.pending === 0; }

  /**
   * Decodes until out[limit) is full or an end marker is met; returns the new output position. Matches reach back
   * to `dictStart` at most. `input` must have SYMBOL_INPUT_BYTES readable bytes after `end`; the caller compares
   * `at` with `end` afterwards.
   */
  run(input: Uint8Array, end: number, out: Uint8Array, outAt: number, limit: number, dictStart: number): number {
    const probs = this.probs, lc = this.lc, posMask = this.posMask, literalMask = this.literalMask;
    let state = this.state, rep0 = this.rep0, rep1 = this.rep1, rep2 = this.rep2, rep3 = this.rep3;
    let range = this.range, code = this.code, at = this.at, o = outAt, length = this.pending;
    let p = 0, t = 0, bound = 0;

    for (;;) {
      if (length > 0) {
        if (rep0 >= o - dictStart) throw damaged();
        const n = length < limit - o ? length : limit - o;
        length -= n;
        const distance = rep0 + 1;
        if (n > 64 && distance >= n) { out.copyWithin(o, o - distance, o - distance + n); o += n; }
        else for (const stop = o + n; o < stop; o++) out[o] = out[o - distance]!;
      }
      if (o >= limit) break;
      if (at > end) throw new DecompressError('the LZMA data ends too early');

      // Positions count from the dictionary's start.
      const position = o - dictStart, posState = position & posMask;
      p = IS_MATCH + (state << 4) + posState; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
      if (code < bound) {
        range = bound; probs[p] = t + (2048 - t >> 5);
        if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
        const previous = position > 0 ? out[o - 1]! : 0;
        const base = LITERAL + 0x300 * (((position & literalMask) << lc) + (previous >> 8 - lc));
        let symbol = 1;
        if (state >= 7) {
          if (rep0 >= position) throw damaged();
          let match = out[o - rep0 - 1]!, offset = 0x100;
          while (symbol < 0x100) {
            match <<= 1;
            const bit = match & offset;
            p = base + offset + bit + symbol; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
            if (code < bound) { range = bound; probs[p] = t + (2048 - t >> 5); symbol <<= 1; offset &= ~bit; }
            else { range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5); symbol = symbol << 1 | 1; offset &= bit; }
            if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
          }
          state = state < 10 ? state - 3 : state - 6;
        } else {
          while (symbol < 0x100) {
            p = base + symbol; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
            if (code < bound) { range = bound; probs[p] = t + (2048 - t >> 5); symbol <<= 1; }
            else { range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5); symbol = symbol << 1 | 1; }
            if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
          }
          state = state < 4 ? 0 : state - 3;
        }
        out[o++] = symbol;
        continue;
      }
      range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5);
      if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }

      let lenBase = LEN, repeated = false;
      p = IS_REP + state; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
      if (code < bound) {
        range = bound; probs[p] = t + (2048 - t >> 5);
        if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
      } else {
        range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5);
        if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
        repeated = true;
        lenBase = REP_LEN;
        // Which of the four last distances: up to three more bits, and one for "a single byte".
        p = IS_REP_G0 + state; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
        if (code < bound) {
          range = bound; probs[p] = t + (2048 - t >> 5);
          if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
          p = IS_REP0_LONG + (state << 4) + posState; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
          if (code < bound) {
            range = bound; probs[p] = t + (2048 - t >> 5);
            if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
            state = state < 7 ? 9 : 11;
            length = 1;
            continue;
          }
          range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5);
          if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
        } else {
          range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5);
          if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
          let distance = rep1;
          p = IS_REP_G1 + state; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
          if (code < bound) {
            range = bound; probs[p] = t + (2048 - t >> 5);
            if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
          } else {
            range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5);
            if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
            p = IS_REP_G2 + state; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
            if (code < bound) { range = bound; probs[p] = t + (2048 - t >> 5); distance = rep2; }
            else { range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5); distance = rep3; rep3 = rep2; }
            if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
            rep2 = rep1;
          }
          rep1 = rep0;
          rep0 = distance;
        }
      }

      // Length: two choice bits pick a tree of 3, 3 or 8 bits.
      let tree = 0, treeBits = 3, lengthBase = 2;
      p = lenBase; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
      if (code < bound) {
        range = bound; probs[p] = t + (2048 - t >> 5);
        tree = lenBase + LEN_LOW + (posState << 3);
      } else {
        range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5);
        if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
        p = lenBase + 1; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
        if (code < bound) { range = bound; probs[p] = t + (2048 - t >> 5); tree = lenBase + LEN_MID + (posState << 3); lengthBase = 10; }
        else { range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5); tree = lenBase + LEN_HIGH; treeBits = 8; lengthBase = 18; }
      }
      if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
      let node = 1;
      for (let n = treeBits; n > 0; n--) {
        p = tree + node; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
        if (code < bound) { range = bound; probs[p] = t + (2048 - t >> 5); node <<= 1; }
        else { range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5); node = node << 1 | 1; }
        if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
      }
      length = node - (1 << treeBits) + lengthBase;
      if (repeated) { state = state < 7 ? 8 : 11; continue; }

      state = state < 7 ? 7 : 10;
      rep3 = rep2; rep2 = rep1; rep1 = rep0;
      tree = POS_SLOT + ((length < 6 ? length - 2 : 3) << 6);
      node = 1;
      while (node < 64) {
        p = tree + node; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
        if (code < bound) { range = bound; probs[p] = t + (2048 - t >> 5); node <<= 1; }
        else { range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5); node = node << 1 | 1; }
        if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
      }
      const slot = node - 64;
      if (slot < 4) { rep0 = slot; continue; }
      let bits = (slot >> 1) - 1, shift = 0;
      let distance = (2 | slot & 1) << bits >>> 0;
      if (slot < 14) tree = POS_SPECIAL + distance - slot;
      else {
        tree = ALIGN;
        let direct = 0;
        for (let n = bits - 4; n > 0; n--) {
          range >>>= 1;
          if (code >= range) { code = code - range >>> 0; direct = direct << 1 | 1; } else direct <<= 1;
          if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
        }
        distance = distance + (direct << 4 >>> 0);
        bits = 4;
      }
      node = 1;
      for (; shift < bits; shift++) {
        p = tree + node; t = probs[p]!; bound = Math.imul(range >>> 11, t) >>> 0;
        if (code < bound) { range = bound; probs[p] = t + (2048 - t >> 5); node <<= 1; }
        else { range = range - bound >>> 0; code = code - bound >>> 0; probs[p] = t - (t >> 5); node = node << 1 | 1; distance += 1 << shift; }
        if (range < TOP) { range = range << 8 >>> 0; code = (code << 8 | input[at++]!) >>> 0; }
      }
      if (distance === 0xffffffff) { this.ended = true; length = 0; break; }
      rep0 = distance;
    }

    this.state = state; this.rep0 = rep0; this.rep1 = rep1; this.rep2 = rep2; this.rep3 = rep3;
    this.range = range; this.code = code; this.at = at; this.pending = length;
    return o;
  }
}

/** A copy of `input` with readable zero bytes behind it, as LzmaDecoder.run wants. */
export function withSlack(input: Uint8Array): Uint8Array {
  const padded = new Uint8Array(input.length + SYMBOL_INPUT_BYTES);
  padded.set(input);
  return padded;
}
