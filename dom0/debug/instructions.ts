// The instruction trace of a domain's vCPUs: switched on and off, and read.
import { DEBUG, TRACE_ENTRY, TRACE_ENTRY_BYTES } from '../../hypervisor/public/debug.ts';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import { eachHeld } from './held.ts';

export interface InstructionView { readonly vcpu: number; readonly rip: string; readonly digest: string; readonly kernelMode: boolean }

/** Instructions remembered unless told otherwise. */
export const DEFAULT_INSTRUCTIONS = 4096;

/** @param count 0 switches it off. @returns 0 or the first -errno */
export async function traceInstructions(hypercalls: Dom0Hypercalls, dom: Domid, count: number): Promise<number> {
  const info = hypercalls.domainInfo(dom);
  if (typeof info === 'number') return info;
  const results: number[] = [];
  for (let vcpu = 0; vcpu < info.vcpus; vcpu++) results.push((await hypercalls.debugRequest(dom, vcpu, { operation: DEBUG.traceInstructions, address: BigInt(count) })).result);
  // vCPUs that are not up yet are not traced.
  return results.some(r => r === 0) ? 0 : results[0] ?? 0;
}

/** The last of each vCPU, oldest first. -EINVAL while it is switched off. */
export async function readInstructions(hypercalls: Dom0Hypercalls, dom: Domid, last: number): Promise<InstructionView[] | number> {
  const read = await eachHeld(hypercalls, dom, vcpu => readVcpu(hypercalls, dom, vcpu, last));
  if (typeof read === 'number') return read;
  const views = read.filter(r => typeof r !== 'number').flat(), error = read.find(r => typeof r === 'number');
  return views.length === 0 && error !== undefined ? error : views;
}

async function readVcpu(hypercalls: Dom0Hypercalls, dom: Domid, vcpu: number, last: number): Promise<InstructionView[] | number> {
  const views: InstructionView[] = [];
  while (views.length < last) {
    const { result, data } = await hypercalls.debugRequest(dom, vcpu, { operation: DEBUG.readInstructions, address: BigInt(views.length) << 32n | BigInt(last) });
    if (result < 0) return result;
    if (data.length < TRACE_ENTRY_BYTES) break;
    const block = new DataView(data.buffer, data.byteOffset, data.byteLength);
    for (let at = 0; at + TRACE_ENTRY_BYTES <= data.length; at += TRACE_ENTRY_BYTES) views.push({
      vcpu, rip: block.getBigUint64(at + TRACE_ENTRY.rip, true).toString(16).padStart(16, '0'),
      digest: block.getUint32(at + TRACE_ENTRY.digest, true).toString(16).padStart(8, '0'), kernelMode: block.getUint32(at + TRACE_ENTRY.kernelMode, true) === 1,
    });
  }
  return views;
}
