// What mmu_update and mmuext_op share: an array of requests, done until one fails, interruptible in between.
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { EPERM, ESRCH } from '../public/errno.ts';
import { DOMID_SELF } from '../public/xen.ts';
import { copyIn, copyOut32 } from '../mm/guest-access.ts';

/** Marks a count whose call goes on where it was interrupted: what is done already stands in success_count. */
const MMU_UPDATE_PREEMPTED = 0x8000_0000;

/** 0 when `foreigndom` names the caller for both tables and pages, else the errno Xen would give. */
function checkForeignDomain(ctx: VcpuContext, foreigndom: bigint): number {
  const pageOwner = Number(foreigndom & 0xffffn), tableOwner = Number((foreigndom >> 16n) & 0xffffn);
  if (tableOwner !== 0 && tableOwner - 1 !== ctx.domid) return -EPERM;
  if (pageOwner === DOMID_SELF) return 0;
  // Naming oneself as foreign is refused as if there were no such domain.
  return pageOwner === ctx.domid ? -ESRCH : -EPERM;
}

export interface Batch {
  /** Number of the hypercall, bytes of a request, and requests done before the guest may be interrupted. */
  readonly call: number; readonly requestBytes: number; readonly most: number;
  /** Does some of the `remaining` requests that stand at an address: how many, and the error of the next. */
  apply(from: bigint, remaining: number): { readonly done: number; readonly error: number };
}

export function runBatch(ctx: VcpuContext, batch: Batch, requests: bigint, count: bigint, pdone: bigint, foreigndom: bigint): number {
  const { call, requestBytes, most } = batch;
  let remaining = Number(count & 0xffff_ffffn), before = 0;
  if (remaining >= MMU_UPDATE_PREEMPTED) {
    remaining -= MMU_UPDATE_PREEMPTED;
    before = pdone === 0n ? 0 : copyIn(ctx, pdone, 4)?.getUint32(0, true) ?? 0;
  }
  const refused = checkForeignDomain(ctx, foreigndom);
  if (refused !== 0) return refused;
  let error = 0, applied = 0;
  const at = (): bigint => requests + BigInt(applied * requestBytes);
  while (remaining > 0 && error === 0 && applied < most) {
    const result = batch.apply(at(), remaining);
    applied += result.done;
    remaining -= result.done;
    error = result.error;
  }
  if (pdone !== 0n) copyOut32(ctx, pdone, before + applied);
  if (error === 0 && remaining > 0) ctx.pv.continuation = { call, args: [at(), BigInt(remaining + MMU_UPDATE_PREEMPTED), pdone, foreigndom] };
  return error;
}
