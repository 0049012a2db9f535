// The demo's disk: a sparse raw image that is kept between runs.
import { closeSync, ftruncateSync, openSync, unlinkSync } from 'node:fs';
import { ImageError, type OnProgress } from './image-error.ts';

export const DEMO_DISK_BYTES = 64 * 0x100000;

/** Makes the image if it does not exist. Returns true if it did not. @throws ImageError */
export function ensureDisk(path: string, sizeBytes = DEMO_DISK_BYTES, onProgress: OnProgress = () => {}): boolean {
  let fd: number;
  try {
    fd = openSync(path, 'wx', 0o644);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw new ImageError(`The disk ${path} cannot be made: ${(error as Error).message}. Give another with --disk.`, error);
  }
  try {
    onProgress({ stage: 'disk', detail: path });
    ftruncateSync(fd, sizeBytes);
    return true;
  } catch (error) {
    unlinkSync(path);
    throw new ImageError(`The disk ${path} cannot be made ${sizeBytes} bytes large: ${(error as Error).message}. Give another with --disk.`, error);
  } finally {
    closeSync(fd);
  }
}
