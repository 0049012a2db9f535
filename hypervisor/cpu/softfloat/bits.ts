// Small BigInt helpers shared by the exact arithmetic.

const TABLE = 320;
const powers: bigint[] = [];
const masks: bigint[] = [];
for (let n = 0; n <= TABLE; n++) { powers.push(1n << BigInt(n)); masks.push((1n << BigInt(n)) - 1n); }

export const pow2 = (n: number): bigint => powers[n] ?? 1n << BigInt(n);
/** The n lowest bits set. */
export const mask = (n: number): bigint => masks[n] ?? (1n << BigInt(n)) - 1n;

const f64 = new Float64Array(1);
const u32 = new Uint32Array(f64.buffer);

/** Number of bits of a positive integer (0 for 0). */
export function bitLength(n: bigint): number {
  f64[0] = Number(n);
  const hi = u32[1]!;
  if (hi >= 0x7ff00000) return 1000 + bitLength(n >> 1000n);
  const e = (hi >>> 20) - 1023;
  if (e < 0) return 0;
  // Conversion to a double may have rounded all-ones up to the next power of two.
  if (e > 52 && (hi & 0xfffff) === 0 && u32[0] === 0 && n < pow2(e)) return e;
  return e + 1;
}

/** n * 2^k for k of either sign; bits shifted out are ORed into the last bit ("jammed"), so that rounding sees them. */
export function shiftJam(n: bigint, k: number): bigint {
  if (k >= 0) return n << BigInt(k);
  const shifted = n >> BigInt(-k);
  return (n & mask(-k)) === 0n ? shifted : shifted | 1n;
}

/** Floor of the square root. */
export function isqrt(n: bigint): bigint {
  if (n < 2n) return n;
  const bits = bitLength(n);
  // A double gives the first 50 bits of the root; Newton's steps double them.
  const drop = bits > 1000 ? (bits - 1000 + 1) & ~1 : 0;
  let root = BigInt(Math.floor(Math.sqrt(Number(n >> BigInt(drop))))) << BigInt(drop / 2);
  for (let good = 50; good < bits / 2 + 4; good *= 2) root = (root + n / root) >> 1n;
  while (root * root > n) root--;
  while ((root + 1n) * (root + 1n) <= n) root++;
  return root;
}
