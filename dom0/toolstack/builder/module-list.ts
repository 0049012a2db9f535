// Several boot modules in one: a multiboot module package (public/xen.h, struct xen_multiboot_mod_list), for guests
// that look for SIF_MULTIBOOT_MOD.
//
//   descriptors { mod_start, mod_end (last byte), cmdline, pad }, ended by one with mod_start 0
//   command lines, NUL-terminated
//   modules, each on a page boundary
// Addresses count from the start of the package.
import { BuilderError } from './builder-error.ts';

const DESCRIPTOR_BYTES = 16;
const PAGE = 4096;

export interface BootModule { readonly data: Uint8Array; readonly cmdline: string }

export function packModules(modules: readonly BootModule[]): Uint8Array {
  const lines = modules.map((m) => Buffer.from(`${m.cmdline}\0`, 'utf8'));
  const linesAt = (modules.length + 1) * DESCRIPTOR_BYTES;
  const align = (n: number): number => Math.ceil(n / PAGE) * PAGE;
  let at = align(lines.reduce((sum, l) => sum + l.length, linesAt));
  const starts = modules.map((m) => { const start = at; at = align(at + m.data.length); return start; });
  if (at > 0xffff_ffff) throw new BuilderError('ramdisk-too-large', 'The boot modules are larger than 4 GiB together.');

  const out = new Uint8Array(at);
  const v = new DataView(out.buffer);
  let lineAt = linesAt;
  modules.forEach((m, i) => {
    const d = i * DESCRIPTOR_BYTES, start = starts[i]!, line = lines[i]!;
    v.setUint32(d, start, true);
    v.setUint32(d + 4, start + m.data.length - 1, true);
    v.setUint32(d + 8, lineAt, true);
    out.set(line, lineAt);
    out.set(m.data, start);
    lineAt += line.length;
  });
  return out;
}
