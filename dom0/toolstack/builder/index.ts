// The builder as the toolstack knows it.
import type { Dom0Hypercalls } from '../../../hypervisor/public/dom0-hypercalls.ts';
import type { DomainConfig } from '../config/schema.ts';
import { ToolstackError, type ToolstackErrorCode } from '../errors.ts';
import type { Builder } from '../ports.ts';
import { buildPlanned, planDomain } from './build-domain.ts';
import { BuilderError, type BuilderErrorCode } from './builder-error.ts';
import { loadKernel } from './kernel-loader.ts';
import { buildProgram, isProgram, planProgram } from './program.ts';

function toolstackCode(code: BuilderErrorCode): ToolstackErrorCode {
  if (code.startsWith('kernel-')) return 'bad-kernel';
  if (code.startsWith('ramdisk-')) return 'bad-ramdisk';
  if (code.startsWith('memory-')) return 'bad-memory';
  return code === 'hypervisor' ? 'hypervisor' : 'build-failed';
}

async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof BuilderError) throw new ToolstackError(toolstackCode(error.code), error.message, { cause: error });
    throw error;
  }
}

export function createBuilder(hv: Dom0Hypercalls): Builder {
  return {
    prepare: (config: DomainConfig) => translated(async () => {
      if (await isProgram(config.kernel)) {
        const program = await planProgram(config);
        return { program: true, build: (dom, ports) => translated(() => buildProgram(hv, dom, program, ports)) };
      }
      const image = await loadKernel(config.kernel);
      const plan = {
        memoryMib: config.memoryKib / 1024, cmdline: config.cmdline,
        ...(config.ramdisk === undefined ? {} : { ramdisk: config.ramdisk }),
      };
      const planned = await planDomain(image, plan);
      return { build: (dom, ports) => translated(() => buildPlanned(hv, dom, planned, ports)) };
    }),
  };
}
