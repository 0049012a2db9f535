// LZMA (alone): 13 bytes of header, then one range-coded run.
import { LzmaDecoder, withSlack } from './lzma-decoder.ts';
import { DecompressError, Output, type DecompressLimits } from './output.ts';

const STEP_BYTES = 1 << 22;

/** Unpacks an .lzma file. Bytes after the end (a kernel's size trailer) are ignored. */
export function unlzma(bytes: Uint8Array, limits: DecompressLimits): Uint8Array {
  if (bytes.length < 18) throw new DecompressError('the LZMA data ends too early');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const declared = view.getBigUint64(5, true);
  const known = declared !== 0xffff_ffff_ffff_ffffn;
  if (known && declared > BigInt(limits.maxBytes)) throw new DecompressError(`it unpacks to more than ${Math.floor(limits.maxBytes / 0x100000)} MiB`);
  const size = known ? Number(declared) : limits.maxBytes;

  const input = withSlack(bytes);
  const decoder = new LzmaDecoder();
  decoder.setProperties(bytes[0]!, 12);
  decoder.startRange(input, 13);
  const out = new Output(known ? { ...limits, expectedBytes: Math.min(size, 0x1000_0000) } : limits);
  while (!decoder.ended && out.length < size) {
    const limit = Math.min(size, out.length + STEP_BYTES);
    const buffer = out.reserve(limit - out.length);
    out.length = decoder.run(input, bytes.length, buffer, out.length, limit, 0);
    if (decoder.at > bytes.length) throw new DecompressError('the LZMA data ends too early');
  }
  if (known && out.length !== size) throw new DecompressError('the LZMA data unpacks to less than it says');
  if (!known && !decoder.ended) throw new DecompressError(`it unpacks to more than ${Math.floor(limits.maxBytes / 0x100000)} MiB`);
  return out.finish();
}
