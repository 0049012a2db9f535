// HYPERVISOR_mmuext_op(ops, count, success_count, foreigndom): pinning, base pointers, flushes, LDT, page contents.
// struct mmuext_op { u32 cmd; u64 arg1 at 8 (mfn or linear address); u64 arg2 at 16 (nr_ents, vcpumask, src mfn) }.
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { PAGE_BYTES } from '../cpu/layout.ts';
import { EACCES, EFAULT, EINVAL, ENOSYS, EOPNOTSUPP } from '../public/errno.ts';
import {
  MMUEXT_CLEAR_PAGE, MMUEXT_COPY_PAGE, MMUEXT_FLUSH_CACHE, MMUEXT_FLUSH_CACHE_GLOBAL, MMUEXT_INVLPG_ALL, MMUEXT_INVLPG_LOCAL,
  MMUEXT_INVLPG_MULTI, MMUEXT_MARK_SUPER, MMUEXT_NEW_BASEPTR, MMUEXT_NEW_USER_BASEPTR, MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L4_TABLE,
  MMUEXT_SET_LDT, MMUEXT_TLB_FLUSH_ALL, MMUEXT_TLB_FLUSH_LOCAL, MMUEXT_TLB_FLUSH_MULTI, MMUEXT_UNMARK_SUPER, MMUEXT_UNPIN_TABLE,
  __HYPERVISOR_mmuext_op,
} from '../public/xen.ts';
import { addressOk, ownFrameIndex } from '../mm/address.ts';
import { newBasePointer, newUserBasePointer } from '../mm/base-pointer.ts';
import { ALL_VCPUS, flushLocal, flushMask, flushPageMask, spaceOf } from '../mm/flush.ts';
import { PGT } from '../mm/frame-table.ts';
import { getPage, noteWritten, putPage } from '../mm/frames.ts';
import { copyInWords, copyVcpuMask } from '../mm/guest-access.ts';
import { getPageAndType, pinTable, putPageAndType, unpinTable } from '../mm/page-tables.ts';
import { withPageLock } from '../mm/space.ts';
import { runBatch } from './mmu-batch.ts';

const OP_BYTES = 24, OP_WORDS = 3;
const words = new BigUint64Array(OP_WORDS);
const BEFORE_PREEMPTION = 256;
const MAX_LDT_ENTRIES = 8192n;

interface Op { readonly cmd: number; readonly arg1: bigint; readonly arg2: bigint }
type OpHandler = (ctx: VcpuContext, op: Op) => number;

const pin: OpHandler = (ctx, op) => {
  const space = spaceOf(ctx), index = ownFrameIndex(ctx, op.arg1);
  // Commands 0 to 3 pin levels 1 to 4.
  return index < 0 ? -EINVAL : withPageLock(space, () => pinTable(space, index, op.cmd - MMUEXT_PIN_L1_TABLE + 1));
};

const unpin: OpHandler = (ctx, op) => {
  const space = spaceOf(ctx), index = ownFrameIndex(ctx, op.arg1);
  return index < 0 ? -EINVAL : withPageLock(space, () => unpinTable(space, index));
};

const localMask = (ctx: VcpuContext): bigint => 1n << BigInt(ctx.vcpuId);
const flushAll = (ctx: VcpuContext, mask: bigint | undefined): number => {
  if (mask === undefined) return -EINVAL;
  flushMask(ctx, mask);
  return 0;
};
const flushPage = (ctx: VcpuContext, mask: bigint | undefined, va: bigint): number => {
  if (mask === undefined) return -EINVAL;
  if (addressOk(va)) flushPageMask(ctx, mask, va);
  return 0;
};

const setLdt: OpHandler = (ctx, op) => {
  const entries = op.arg2 & 0xffff_ffffn;
  const base = entries === 0n ? 0n : op.arg1;
  if ((base & 0xfffn) !== 0n || !addressOk(base) || entries > MAX_LDT_ENTRIES) return -EINVAL;
  ctx.pv.ldtBase = base;
  ctx.pv.ldtEntries = Number(entries);
  return 0;
};

/** Runs `work` while the destination is held as writable; -EINVAL when it is not the domain's or has another type. */
function withWritable(ctx: VcpuContext, mfn: bigint, work: (index: number) => number): number {
  const space = spaceOf(ctx), index = ownFrameIndex(ctx, mfn);
  if (index < 0) return -EINVAL;
  return withPageLock(space, () => {
    if (getPageAndType(space, index, PGT.writable_page) !== 0) return -EINVAL;
    const result = work(index);
    putPageAndType(space, index);
    return result;
  });
}

const clearPage: OpHandler = (ctx, op) => withWritable(ctx, op.arg1, (index) => {
  ctx.processor.bytes.fill(0, index * PAGE_BYTES, (index + 1) * PAGE_BYTES);
  noteWritten(spaceOf(ctx), index);
  return 0;
});

const copyPage: OpHandler = (ctx, op) => withWritable(ctx, op.arg1, (index) => {
  const space = spaceOf(ctx), source = ownFrameIndex(ctx, op.arg2);
  if (source < 0 || !getPage(space, source)) return -EINVAL;
  ctx.processor.bytes.copyWithin(index * PAGE_BYTES, source * PAGE_BYTES, (source + 1) * PAGE_BYTES);
  noteWritten(space, index);
  putPage(space, source);
  return 0;
});

const HANDLERS: ReadonlyMap<number, OpHandler> = new Map<number, OpHandler>([
  [MMUEXT_UNPIN_TABLE, unpin],
  [MMUEXT_NEW_BASEPTR, (ctx, op) => newBasePointer(ctx, ownFrameIndex(ctx, op.arg1))],
  [MMUEXT_NEW_USER_BASEPTR, (ctx, op) => newUserBasePointer(ctx, op.arg1 === 0n ? 0 : ownFrameIndex(ctx, op.arg1))],
  [MMUEXT_TLB_FLUSH_LOCAL, (ctx) => { flushLocal(ctx); return 0; }],
  [MMUEXT_INVLPG_LOCAL, (ctx, op) => flushPage(ctx, localMask(ctx), op.arg1)],
  [MMUEXT_TLB_FLUSH_MULTI, (ctx, op) => flushAll(ctx, copyVcpuMask(ctx, op.arg2))],
  [MMUEXT_INVLPG_MULTI, (ctx, op) => flushPage(ctx, copyVcpuMask(ctx, op.arg2), op.arg1)],
  [MMUEXT_TLB_FLUSH_ALL, (ctx) => flushAll(ctx, ALL_VCPUS)],
  [MMUEXT_INVLPG_ALL, (ctx, op) => flushPage(ctx, ALL_VCPUS, op.arg1)],
  // No hardware, so no right to flush its caches.
  [MMUEXT_FLUSH_CACHE, () => -EACCES],
  [MMUEXT_FLUSH_CACHE_GLOBAL, () => -EINVAL],
  [MMUEXT_SET_LDT, setLdt],
  [MMUEXT_CLEAR_PAGE, clearPage],
  [MMUEXT_COPY_PAGE, copyPage],
  [MMUEXT_MARK_SUPER, () => -EOPNOTSUPP],
  [MMUEXT_UNMARK_SUPER, () => -EOPNOTSUPP],
]);

function runOp(ctx: VcpuContext, op: Op): number {
  if (op.cmd >= MMUEXT_PIN_L1_TABLE && op.cmd <= MMUEXT_PIN_L4_TABLE) return pin(ctx, op);
  return HANDLERS.get(op.cmd)?.(ctx, op) ?? -ENOSYS;
}

export const mmuext_op: HypercallHandler = (ctx, ops, count, pdone, foreigndom) => runBatch(ctx, {
  call: __HYPERVISOR_mmuext_op, requestBytes: OP_BYTES, most: BEFORE_PREEMPTION,
  apply: from => {
    if (!copyInWords(ctx, from, words, OP_WORDS)) return { done: 0, error: -EFAULT };
    const error = runOp(ctx, { cmd: Number(words[0]! & 0xffff_ffffn), arg1: words[1]!, arg2: words[2]! });
    return { done: error === 0 ? 1 : 0, error };
  },
}, ops, count, pdone, foreigndom);
