// Picks the decoder by the data's first bytes.
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { unbzip2 } from './bzip2.ts';
import { unlz4Legacy } from './lz4.ts';
import { unlzma } from './lzma.ts';
import { unlzo } from './lzo.ts';
import { DecompressError, type DecompressLimits } from './output.ts';
import { unxz } from './xz.ts';

export { DecompressError, type DecompressLimits } from './output.ts';

export type Compression = 'gzip' | 'bzip2' | 'lzma' | 'xz' | 'lzo' | 'lz4' | 'zstd';

const MAGICS: readonly { readonly name: Compression; readonly magic: readonly number[] }[] = [
  { name: 'gzip', magic: [0x1f, 0x8b] },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68] },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { name: 'lzo', magic: [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d] },
  { name: 'lz4', magic: [0x02, 0x21, 0x4c, 0x18] },
  { name: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd] },
  // No real magic: lc=3 lp=0 pb=2, and a dictionary that is a multiple of 64 KiB.
  { name: 'lzma', magic: [0x5d, 0x00, 0x00] },
];

/** Which compression `bytes` starts like, or null. */
export function detectCompression(bytes: Uint8Array): Compression | null {
  return MAGICS.find(({ magic }) => magic.every((m, i) => bytes[i] === m))?.name ?? null;
}

/** node:zlib's errors as sentences of ours. */
function viaZlib(name: string, limits: DecompressLimits, run: () => Uint8Array): Uint8Array {
  try {
    return run();
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE') throw new DecompressError(`it unpacks to more than ${Math.floor(limits.maxBytes / 0x100000)} MiB`);
    throw new DecompressError(`the ${name} data is damaged (${(error as Error).message})`);
  }
}

const DECODERS: Record<Compression, (bytes: Uint8Array, limits: DecompressLimits) => Uint8Array> = {
  gzip: (b, l) => viaZlib('gzip', l, () => gunzipSync(b, { maxOutputLength: l.maxBytes })),
  zstd: (b, l) => viaZlib('zstd', l, () => zstdDecompressSync(b, { maxOutputLength: l.maxBytes })),
  bzip2: unbzip2, lzma: unlzma, xz: unxz, lzo: unlzo, lz4: unlz4Legacy,
};

/** Unpacks `bytes`. Throws DecompressError, a sentence that goes on after "... cannot be unpacked: ". */
export function decompress(compression: Compression, bytes: Uint8Array, limits: DecompressLimits): Uint8Array {
  return DECODERS[compression](bytes, limits);
}
