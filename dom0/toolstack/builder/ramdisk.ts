// The initrd: bytes at hand, or a file that is read straight into the guest's frames. A ramdisk that is exactly one
// gzip member is unpacked here, as libxl's builder does; anything else (an archive with a second one appended, an
// early microcode archive in front) is handed over as it is, for the kernel to unpack.
import { open, type FileHandle } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { BuilderError } from './builder-error.ts';
import type { GuestFrames } from './guest-frames.ts';

const CHUNK_BYTES = 1 << 22;

export interface Ramdisk {
  /** Size in the guest's memory. */
  readonly bytes: number;
  /** Writes it at `offset` (bytes from pfn 0). */
  load(frames: GuestFrames, offset: number): Promise<void>;
}

function fromBytes(data: Uint8Array): Ramdisk {
  return { bytes: data.length, load: (frames, offset) => Promise.resolve(frames.write(offset, data)) };
}

/** The file is opened when it is loaded: planning holds nothing that somebody would have to close. */
function fromFile(path: string, bytes: number): Ramdisk {
  return {
    bytes,
    load: (frames, offset) => reading(path, async (file) => {
      let position = 0;
      for (const run of frames.runs(offset, bytes)) {
        for (let at = 0; at < run.length;) {
          const { bytesRead } = await file.read(run, at, Math.min(CHUNK_BYTES, run.length - at), position);
          if (bytesRead === 0) throw new BuilderError('ramdisk-unreadable', `The ramdisk ${path} became shorter while it was read.`);
          at += bytesRead;
          position += bytesRead;
        }
      }
    }),
  };
}

/** Opens, hands over, closes; failures become a sentence. */
async function reading<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    return await use(file);
  } catch (error) {
    throw error instanceof BuilderError ? error : new BuilderError('ramdisk-unreadable', `The ramdisk ${path} cannot be read: ${(error as Error).message}.`, error);
  } finally {
    await file?.close();
  }
}

const isGzip = (head: Uint8Array): boolean => head[0] === 0x1f && head[1] === 0x8b && head[2] === 8;

/** The contents of a file that is one whole gzip member, or null if it is not or is larger than `maxBytes`. */
export function gunzipWhole(data: Uint8Array, maxBytes: number): Uint8Array | null {
  if (data.length < 18 || !isGzip(data)) return null;
  const size = new DataView(data.buffer, data.byteOffset + data.length - 4, 4).getUint32(0, true);
  if (size > maxBytes) return null;
  try {
    // With `info` node also tells how much input was used; its types do not know that.
    const result = gunzipSync(data, { maxOutputLength: Math.max(size, 1), info: true }) as unknown as { buffer: Uint8Array; engine: { bytesWritten: number } };
    return result.buffer.length === size && result.engine.bytesWritten === data.length ? result.buffer : null;
  } catch {
    return null;
  }
}

/**
 * @param source bytes or a path
 * @param maxBytes the domain's memory: nothing larger is unpacked
 */
export async function openRamdisk(source: Uint8Array | string, maxBytes: number): Promise<Ramdisk> {
  if (typeof source !== 'string') return fromBytes(gunzipWhole(source, maxBytes) ?? source);
  return await reading(source, async (file) => {
    const stat = await file.stat();
    if (!stat.isFile()) throw new BuilderError('ramdisk-unreadable', `The ramdisk ${source} is not a regular file.`);
    const head = new Uint8Array(3);
    await file.read(head, 0, 3, 0);
    const unpacked = isGzip(head) && stat.size <= maxBytes ? gunzipWhole(await file.readFile(), maxBytes) : null;
    return unpacked === null ? fromFile(source, stat.size) : fromBytes(unpacked);
  });
}
