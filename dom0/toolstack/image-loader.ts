// The domain builder behind the toolstack's Builder port: reads the files, and says what is wrong with them in
// the words scripts know from xl, with the builder's own sentence behind.
import { readFile, stat } from 'node:fs/promises';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import { buildPlanned, planDomain } from './builder/build-domain.ts';
import { BuilderError } from './builder/builder-error.ts';
import { parseKernel, type KernelImage } from './builder/kernel-image.ts';
import type { DomainConfig } from './config/schema.ts';
import { messageOf, ToolstackError, type ToolstackErrorCode } from './errors.ts';
import type { Builder, PreparedImage } from './ports.ts';

const KIB_PER_MIB = 1024;

export class ImageLoader implements Builder {
  readonly #hypercalls: Dom0Hypercalls;
  /** The kernel used last: unpacking one takes up to a second, and guests are often rebooted or made in a row. */
  #last: { key: string; image: KernelImage } | undefined;

  constructor(hypercalls: Dom0Hypercalls) { this.#hypercalls = hypercalls; }

  async prepare(config: DomainConfig): Promise<PreparedImage> {
    const image = await this.#kernel(config.kernel);
    if (config.ramdisk) await readable(config.ramdisk, 'bad-ramdisk');
    const plan = await planDomain(image, { memoryMib: config.memoryKib / KIB_PER_MIB, cmdline: config.cmdline, ...(config.ramdisk ? { ramdisk: config.ramdisk } : {}) })
      .catch(error => { throw toolstackError(error, config.kernel); });
    return {
      build: (dom, ports) => buildPlanned(this.#hypercalls, dom, plan, ports).catch(error => { throw toolstackError(error, config.kernel); }),
    };
  }

  async #kernel(path: string): Promise<KernelImage> {
    const info = await readable(path, 'bad-kernel');
    const key = `${path}\0${info.ino}\0${info.size}\0${info.mtimeMs}`;
    if (this.#last?.key === key) return this.#last.image;
    try {
      const image = parseKernel(await readFile(path), path);
      this.#last = { key, image };
      return image;
    } catch (error) { throw toolstackError(error, path); }
  }
}

async function readable(path: string, code: ToolstackErrorCode): Promise<{ ino: number; size: number; mtimeMs: number }> {
  const refuse = (reason: string): never => { throw new ToolstackError(code, `failed to open file '${path}': ${reason}`); };
  const info = await stat(path).catch((error: NodeJS.ErrnoException) =>
    refuse(error.code === 'ENOENT' ? 'No such file or directory' : error.code === 'EACCES' ? 'Permission denied' : messageOf(error)));
  if (!info.isFile()) refuse('it is not a file');
  if (info.size === 0) throw new ToolstackError(code, `'${path}': zero length file`);
  return info;
}

function toolstackError(error: unknown, kernel: string): unknown {
  if (error instanceof ToolstackError) return error;
  if (!(error instanceof BuilderError)) return (error as NodeJS.ErrnoException).code === 'EACCES'
    ? new ToolstackError('bad-kernel', `failed to open file '${kernel}': Permission denied`) : error;
  const { code, message } = error;
  const refuse = (as: ToolstackErrorCode, prefix: string): ToolstackError => new ToolstackError(as, prefix + message, { cause: error });
  if (code === 'memory-size' || code === 'memory-too-small' || code === 'ramdisk-too-large') return refuse('bad-memory', 'Out of memory: ');
  if (code === 'kernel-addresses' || code.startsWith('kernel-')) return refuse('bad-kernel', 'no loader found: Invalid kernel: ');
  if (code === 'ramdisk-unreadable') return refuse('bad-ramdisk', '');
  return refuse('build-failed', '');
}
