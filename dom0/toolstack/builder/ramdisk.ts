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
  /** Closes the file behind it. Always call it. */
  close(): Promise<void>;
}

function fromBytes(data: Uint8Array): Ramdisk {
  return {
    bytes: data.length,
    load: (frames, offset) => Promise.resolve(frames.write(offset, data)),
    close: () => Promise.resolve(),
  };
}

function fromFile(file: FileHandle, path: string, bytes: number): Ramdisk {
  return {
    bytes,
    async load(frames, offset) {
      let position = 0;
      for (const run of frames.runs(offset, bytes)) {
        for (let at = 0; at < run.length;) {
          const { bytesRead } = await file.read(run, at, Math.min(CHUNK_BYTES, run.length - at), position);
          if (bytesRead === 0) throw new BuilderError('ramdisk-unreadable', `The ramdisk ${path} became shorter while it was read.`);
          at += bytesRead;
          position += bytesRead;
        }
      }
    },
    close: () => file.close(),
  };
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
  let file: FileHandle;
  try {
    file = await open(source, 'r');
  } catch (error) {
    throw new BuilderError('ramdisk-unreadable', `The ramdisk ${source} cannot be opened: ${(error as Error).message}.`, error);
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new BuilderError('ramdisk-unreadable', `The ramdisk ${source} is not a regular file.`);
    const head = new Uint8Array(3);
    await file.read(head, 0, 3, 0);
    if (isGzip(head) && stat.size <= maxBytes) {
      const data = await file.readFile();
      const unpacked = gunzipWhole(data, maxBytes);
      if (unpacked !== null) {
        await file.close();
        return fromBytes(unpacked);
      }
    }
    return fromFile(file, source, stat.size);
  } catch (error) {
    await file.close();
    throw error instanceof BuilderError ? error : new BuilderError('ramdisk-unreadable', `The ramdisk ${source} cannot be read: ${(error as Error).message}.`, error);
  }
}
