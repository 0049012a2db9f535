// What is booted where no Debian kernel can be had: the guest kernel of domu-pv with its shell. Nothing is fetched.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { appModule } from '../../domu-pv/apps/app-module.ts';
import type { Demo } from './demo.ts';
import { ImageError } from './image-error.ts';

/** The module stays in the cache folder: it is read again when the domain reboots. @throws ImageError */
export function embeddedDemo(cacheDir: string): Demo {
  const kernelPath = join(cacheDir, 'embedded-shell.wasm');
  try {
    mkdirSync(cacheDir, { recursive: true });
    writeFileSync(kernelPath, appModule('shell'));
  } catch (error) { throw new ImageError(`The embedded guest cannot be written to ${kernelPath}: ${(error as Error).message}.`, error); }
  return { kernelPath, ramdiskPath: '', cleanup: () => {} };
}
