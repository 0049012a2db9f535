// The domain builder as the toolstack uses it: files are looked at first, and what is wrong is said in the words
// scripts know from xl, with the builder's own sentence behind.
import { stat } from 'node:fs/promises';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import { createBuilder } from './builder/index.ts';
import { messageOf, ToolstackError, type ToolstackErrorCode } from './errors.ts';
import type { Builder } from './ports.ts';

const PREFIX: Partial<Record<ToolstackErrorCode, string>> = { 'bad-kernel': 'no loader found: Invalid kernel: ', 'bad-memory': 'Out of memory: ' };

export function createImageLoader(hypercalls: Dom0Hypercalls, builder: Builder = createBuilder(hypercalls)): Builder {
  return {
    prepare: async config => {
      await readable(config.kernel, 'bad-kernel');
      if (config.ramdisk) await readable(config.ramdisk, 'bad-ramdisk');
      const image = await builder.prepare(config).catch(error => { throw worded(error); });
      return { build: async (dom, ports) => { try { return await image.build(dom, ports); } catch (error) { throw worded(error); } } };
    },
  };
}

function worded(error: unknown): unknown {
  if (!(error instanceof ToolstackError)) return error;
  const prefix = PREFIX[error.code];
  return prefix === undefined ? error : new ToolstackError(error.code, prefix + error.message, { cause: error });
}

async function readable(path: string, code: ToolstackErrorCode): Promise<void> {
  const refuse = (reason: string): never => { throw new ToolstackError(code, `failed to open file '${path}': ${reason}`); };
  const info = await stat(path).catch((error: NodeJS.ErrnoException) =>
    refuse(error.code === 'ENOENT' ? 'No such file or directory' : error.code === 'EACCES' ? 'Permission denied' : messageOf(error)));
  if (!info.isFile()) refuse('it is not a file');
  if (info.size === 0) throw new ToolstackError(code, `'${path}': zero length file`);
}
