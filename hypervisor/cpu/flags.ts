// Lazy flags: two 64-bit words stand for the six arithmetic flags.
//
//   result: the result, sign-extended to 64 bits        aux: bit 63 CF, bit 62 carry into the top bit
//                                                            bit 3 AF, bits 8..15 parity delta, bit 0 sign delta
//
//   ZF = result is 0     SF = sign(result) ^ aux.0     PF = even parity of (result ^ aux >> 8) & 0xff
//   CF = aux.63          OF = aux.63 ^ aux.62          AF = aux.3
//
// Arithmetic stores both words with a handful of operations and no memory of which instruction it was; conditions
// read them without a branch. The delta bits are only set when flags come from memory (POPF, SAHF, IRET).
import { FLAG } from './state.ts';

export function composeFlags(result: bigint, aux: bigint): number {
  const cf = Number(aux >> 63n & 1n), carryIn = Number(aux >> 62n & 1n);
  let parity = Number((result ^ aux >> 8n) & 0xffn);
  parity ^= parity >> 4; parity ^= parity >> 2; parity ^= parity >> 1;
  return cf * FLAG.CF | (parity & 1 ^ 1) * FLAG.PF | Number(aux >> 3n & 1n) * FLAG.AF | (result === 0n ? FLAG.ZF : 0)
    | Number((result >> 63n ^ aux) & 1n) * FLAG.SF | (cf ^ carryIn) * FLAG.OF;
}

export function splitFlags(flags: number): { result: bigint; aux: bigint } {
  const bit = (mask: number): bigint => flags & mask ? 1n : 0n;
  const zf = bit(FLAG.ZF), cf = bit(FLAG.CF);
  return { result: zf ^ 1n, aux: bit(FLAG.SF) | (bit(FLAG.PF) ^ zf) << 8n | bit(FLAG.AF) << 3n | cf << 63n | (cf ^ bit(FLAG.OF)) << 62n };
}
