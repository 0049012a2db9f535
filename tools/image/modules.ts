// Kernel modules: which files a set of modules needs, in loading order. Debian's packages carry no modules.dep (it
// is made at installation), so the dependencies are read where depmod reads them: in each module's .modinfo.
import { decompress, detectCompression } from '../../dom0/toolstack/builder/decompress/index.ts';
import { ImageError } from './image-error.ts';

const MAX_MODULE_BYTES = 64 * 0x100000;

/** `-` and `_` are the same in module names. */
export const moduleName = (path: string): string => path.slice(path.lastIndexOf('/') + 1).replace(/\.ko(\.\w+)?$/, '').replaceAll('-', '_');

export interface ModuleFile { readonly name: string; readonly data: Uint8Array }

/** The section of an ELF64 object as bytes, or null. Sections are addressed by unchecked numbers: views clip. */
function section(elf: Uint8Array, wanted: string): Uint8Array | null {
  if (elf.length < 64 || elf[0] !== 0x7f) return null;
  const v = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  const shoff = Number(v.getBigUint64(40, true)), size = v.getUint16(58, true), count = v.getUint16(60, true), names = v.getUint16(62, true);
  if (size < 64 || shoff + count * size > elf.length || names >= count) return null;
  const range = (i: number): Uint8Array => {
    const at = shoff + i * size, offset = Number(v.getBigUint64(at + 24, true));
    return elf.subarray(offset, offset + Number(v.getBigUint64(at + 32, true)));
  };
  const strings = Buffer.from(range(names));
  for (let i = 0; i < count; i++) {
    const start = v.getUint32(shoff + i * size, true), end = strings.indexOf(0, start);
    if (strings.toString('latin1', start, end) === wanted) return range(i);
  }
  return null;
}

/** Names of the modules that must be loaded before this one: its dependencies, then its soft "pre" dependencies. */
export function moduleNeeds(data: Uint8Array): { hard: string[]; soft: string[] } {
  const info = section(data, '.modinfo');
  if (info === null) throw new ImageError('a kernel module in the package is damaged');
  const hard: string[] = [], soft: string[] = [];
  for (const line of Buffer.from(info).toString('latin1').split('\0')) {
    if (line.startsWith('depends=')) hard.push(...line.slice(8).split(',').filter((s) => s !== '').map(moduleName));
    const pre = /^softdep=.*?\bpre:\s*(.*?)(?:\bpost:.*)?$/.exec(line);
    if (pre) soft.push(...pre[1]!.split(/\s+/).filter((s) => s !== '').map(moduleName));
  }
  return { hard, soft };
}

/**
 * @param available module files by name (moduleName of their path), packed or not
 * @param wanted names; one that is not available is taken as built in
 * @returns unpacked files, dependencies first
 */
export function closeModules(available: ReadonlyMap<string, Uint8Array>, wanted: readonly string[]): ModuleFile[] {
  const ordered = new Map<string, ModuleFile>();
  const entered = new Set<string>();
  const visit = (name: string): void => {
    const packed = available.get(name);
    if (packed === undefined || entered.has(name)) return;
    entered.add(name);
    const compression = detectCompression(packed);
    const data = compression === null ? packed : decompress(compression, packed, { maxBytes: MAX_MODULE_BYTES });
    const needs = moduleNeeds(data);
    for (const n of [...needs.soft, ...needs.hard]) visit(n);
    ordered.set(name, { name, data });
  };
  for (const name of wanted) visit(moduleName(name));
  return [...ordered.values()];
}
