// From the bytes of a kernel file to what the builder loads: bzImage or ELF, packed or plain.
import { BuilderError } from './builder-error.ts';
import { bzImagePayload, isBzImage } from './bzimage.ts';
import { decompress, DecompressError, detectCompression, type Compression } from './decompress/index.ts';
import { isElf, parseElf, type LoadSegment } from './elf.ts';
import { xenParams, type XenParams } from './xen-notes.ts';

export interface KernelImage {
  readonly format: 'bzImage' | 'ELF';
  /** How the ELF inside was packed. */
  readonly compression: Compression | null;
  readonly loads: readonly LoadSegment[];
  readonly params: XenParams;
}

/** The most a kernel may unpack to. */
export const MAX_KERNEL_BYTES = 512 * 0x100000;

/**
 * Reads a kernel: bzImage (payload packed with gzip, bzip2, LZMA, XZ, LZO, LZ4 or zstd, or not at all) or ELF
 * vmlinux, itself perhaps packed. Takes about a second for a large XZ payload.
 * @param name how error sentences call the file, a path usually
 * @throws BuilderError with a whole sentence
 */
export function parseKernel(bytes: Uint8Array, name = 'the kernel'): KernelImage {
  try {
    return parse(bytes);
  } catch (error) {
    if (error instanceof BuilderError) throw new BuilderError(error.code, `${name} ${error.message}`, error.cause);
    throw error;
  }
}

function parse(bytes: Uint8Array): KernelImage {
  if (bytes.length === 0) throw new BuilderError('kernel-empty', 'is empty; give a Linux bzImage or an ELF kernel with Xen PV support');
  const inner = isBzImage(bytes) ? bzImagePayload(bytes) : bytes;
  const format = inner === bytes ? 'ELF' : 'bzImage';
  const compression = isElf(inner) ? null : detectCompression(inner);
  if (!isElf(inner) && compression === null) {
    if (format === 'ELF') throw new BuilderError('kernel-not-recognised', 'is neither a Linux bzImage nor an ELF file, so it is no kernel that can be booted');
    throw new BuilderError('kernel-compression', `has a payload in an unknown compression (it starts with ${Buffer.from(inner.subarray(0, 6)).toString('hex')})`);
  }
  const image = compression === null ? inner : unpack(inner, compression, format === 'bzImage');
  if (!isElf(image)) throw new BuilderError('kernel-not-recognised', `unpacks (${compression}) to something that is not an ELF file`);
  const elf = parseElf(image);
  return { format, compression, loads: elf.loads, params: xenParams(elf) };
}

function unpack(packed: Uint8Array, compression: Compression, inBzImage: boolean): Uint8Array {
  try {
    // Linux appends the unpacked size, four bytes, to every payload; gzip has it as its own last field.
    const size = inBzImage && packed.length >= 4 ? new DataView(packed.buffer, packed.byteOffset + packed.length - 4, 4).getUint32(0, true) : 0;
    const data = inBzImage && compression !== 'gzip' ? packed.subarray(0, packed.length - 4) : packed;
    const image = decompress(compression, data, { maxBytes: MAX_KERNEL_BYTES, ...(size > 0 ? { expectedBytes: size } : {}) });
    if (inBzImage && image.length !== size) throw new DecompressError(`it should be ${size} bytes and is ${image.length}`);
    return image;
  } catch (error) {
    if (error instanceof DecompressError) throw new BuilderError('kernel-corrupt', `cannot be unpacked: ${error.message}`, error);
    throw error;
  }
}
