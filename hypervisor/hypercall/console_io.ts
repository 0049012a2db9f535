// HYPERVISOR_console_io(cmd, count, buffer): a guest's early messages, line by line into the xl dmesg ring.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { vcpuOf, type Vcpu } from '../domain/vcpu.ts';
import { logDomain } from '../domain/hypervisor.ts';
import { EFAULT, ENOSYS, EPERM } from '../public/errno.ts';
import { CONSOLEIO_read, CONSOLEIO_write } from '../public/xen.ts';

const COUNT_MAX = 4096n, LINE_MAX = 256;
const partial = new WeakMap<Vcpu, string>();

export const console_io: HypercallHandler = (ctx, cmd, count, buffer) => {
  if (Number(cmd) === CONSOLEIO_read) return -EPERM;
  if (Number(cmd) !== CONSOLEIO_write) return -ENOSYS;
  const v = vcpuOf(ctx), bytes = new Uint8Array(Number(count < COUNT_MAX ? count : COUNT_MAX));
  if (!ctx.processor.readVirtual(buffer, bytes)) return -EFAULT;
  const lines = ((partial.get(v) ?? '') + String.fromCharCode(...bytes)).split('\n');
  let rest = lines.pop()!;
  if (rest.length > LINE_MAX) { lines.push(rest); rest = ''; }
  partial.set(v, rest);
  for (const line of lines) logDomain(v.hv, v.slot, `(d${v.domid}) ${line.replace(/\r$/, '')}`);
  return Number(bytes.length) === Number(count) ? 0 : bytes.length;
};
