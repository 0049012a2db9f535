// CRC-64 (ECMA-182, reflected) as XZ uses it, in two 32-bit halves.
const POLY_LOW = 0xd7870f42, POLY_HIGH = 0xc96c5795;

const LOW = new Int32Array(256), HIGH = new Int32Array(256);
for (let i = 0; i < 256; i++) {
  let low = i, high = 0;
  for (let k = 0; k < 8; k++) {
    const bit = low & 1;
    low = low >>> 1 | high << 31;
    high >>>= 1;
    if (bit) { low ^= POLY_LOW; high ^= POLY_HIGH; }
  }
  LOW[i] = low;
  HIGH[i] = high;
}

export function crc64(bytes: Uint8Array): bigint {
  let low = -1, high = -1;
  for (let i = 0; i < bytes.length; i++) {
    const k = (low ^ bytes[i]!) & 0xff;
    low = (low >>> 8 | high << 24) ^ LOW[k]!;
    high = high >>> 8 ^ HIGH[k]!;
  }
  return BigInt(~high >>> 0) << 32n | BigInt(~low >>> 0);
}
