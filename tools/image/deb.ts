// Debian packages: an ar archive with data.tar in some compression. No dpkg needed.
import { decompress, DecompressError, detectCompression } from '../../dom0/toolstack/builder/decompress/index.ts';
import { ImageError } from './image-error.ts';
import { readTar, type TarEntry } from './tar.ts';

const AR_MAGIC = '!<arch>\n';
const MAX_DATA_BYTES = 0x6000_0000;

/** Members of an ar archive, by name. */
export function readAr(bytes: Uint8Array): Map<string, Uint8Array> {
  const field = (at: number, n: number): string => Buffer.from(bytes.subarray(at, at + n)).toString('latin1').trim();
  if (Buffer.from(bytes.subarray(0, 8)).toString('latin1') !== AR_MAGIC) throw new ImageError('it is not a Debian package (no ar archive)');
  const members = new Map<string, Uint8Array>();
  for (let at = 8; at + 60 <= bytes.length;) {
    const size = Number(field(at + 48, 10));
    if (!Number.isInteger(size) || size < 0 || size > bytes.length - at - 60) throw new ImageError('the package is damaged or was not downloaded whole');
    members.set(field(at, 16).replace(/\/$/, ''), bytes.subarray(at + 60, at + 60 + size));
    at += 60 + size + size % 2;
  }
  return members;
}

/** The files a package installs. @throws ImageError */
export function readDeb(bytes: Uint8Array): Generator<TarEntry> {
  const data = [...readAr(bytes)].find(([name]) => name.startsWith('data.tar'));
  if (data === undefined) throw new ImageError('it is not a Debian package (no data archive)');
  const [name, packed] = data;
  if (name === 'data.tar') return readTar(packed);
  const compression = detectCompression(packed);
  if (compression === null) throw new ImageError(`its ${name} is in an unknown compression`);
  try {
    return readTar(decompress(compression, packed, { maxBytes: MAX_DATA_BYTES }));
  } catch (error) {
    if (error instanceof DecompressError) throw new ImageError(`its ${name} cannot be unpacked: ${error.message}`, error);
    throw error;
  }
}
