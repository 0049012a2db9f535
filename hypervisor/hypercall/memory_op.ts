// HYPERVISOR_memory_op(cmd, arg): the domain's own frames. cmd carries the operation in its low 6 bits and, for a call
// that is being continued, the first extent in the rest. (public/memory.h)
//
//   struct xen_memory_reservation  { u64 extent_start; u64 nr_extents; u32 extent_order; u32 mem_flags; u16 domid } 32 bytes
//   struct xen_memory_exchange     { reservation in at 0; reservation out at 32; u64 nr_exchanged at 64 }
//   struct xen_memory_map          { u32 nr_entries; u64 buffer at 8 } 16 bytes; its entries { u64 addr; u64 size; u32 type } 20 bytes
//   struct xen_machphys_mapping    { u64 v_start; u64 v_end; u64 max_mfn }
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { EACCES, EFAULT, EINVAL, ENOSYS, EPERM, ESRCH } from '../public/errno.ts';
import {
  XENMEM_add_to_physmap, XENMEM_add_to_physmap_batch, XENMEM_current_reservation, XENMEM_decrease_reservation, XENMEM_exchange,
  XENMEM_increase_reservation, XENMEM_machine_memory_map, XENMEM_machphys_mapping, XENMEM_maximum_gpfn, XENMEM_maximum_ram_page,
  XENMEM_maximum_reservation, XENMEM_memory_map, XENMEM_populate_physmap, XENMEM_remove_from_physmap, XENMEM_set_memory_map,
} from '../public/memory.ts';
import { DOMID_SELF, __HYPERVISOR_memory_op } from '../public/xen.ts';
import { mfnOf } from '../public/types.ts';
import { ownFrameIndex } from '../mm/address.ts';
import { spaceOf } from '../mm/flush.ts';
import { allocatedFrames, maxFrames } from '../mm/frames.ts';
import { copyIn, copyIn64, copyOut64 } from '../mm/guest-access.ts';
import { DOMU_MAX_ORDER, allocateExtentLocked, exchangeLocked, isStealable, populateExtentLocked, removeExtentLocked } from '../mm/reservation.ts';
import type { Space } from '../mm/space.ts';
import { withPageLock } from '../mm/space.ts';

const MEMOP_EXTENT_SHIFT = 6n;
const MEMOP_CMD_MASK = 63n;
const MEMORY_MAP_BYTES = 16, E820_ENTRY_BYTES = 20, E820_RAM = 1;
const RESERVATION_BYTES = 32, EXCHANGE_BYTES = 72, NR_EXCHANGED = 64;
/** Extents done before the guest may be interrupted. */
const BEFORE_PREEMPTION = 1024;
const MACH2PHYS_VIRT_START = 0xffff_8000_0000_0000n, MACH2PHYS_VIRT_END = 0xffff_8040_0000_0000n;
const MACH2PHYS_NR_ENTRIES = (MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) >> 3n;
/** max_pfn of shared_info's arch part (public/arch-x86/xen.h). */
const SHARED_INFO_MAX_PFN = 0xc10;

interface Reservation {
  readonly extents: bigint; readonly count: bigint; readonly order: number; readonly domid: number;
}

const readReservation = (data: DataView, at: number): Reservation => ({
  extents: data.getBigUint64(at, true), count: data.getBigUint64(at + 8, true), order: data.getUint32(at + 16, true), domid: data.getUint16(at + 24, true),
});

const isSelf = (ctx: VcpuContext, domid: number): boolean => domid === DOMID_SELF || domid === ctx.domid;

/** One extent of a reservation change: false ends the call with what was done so far. */
type ExtentWork = (ctx: VcpuContext, space: Space, reservation: Reservation, entry: bigint) => boolean;

/** Writes an extent's first mfn into the list. */
const reportMfn = (ctx: VcpuContext, entry: bigint, start: number): boolean => copyOut64(ctx, entry, BigInt(mfnOf(ctx.slot, start)));

const increase: ExtentWork = (ctx, space, { order, extents }, entry) => {
  const start = withPageLock(space, () => allocateExtentLocked(space, order));
  if (start < 0) return false;
  return extents === 0n || reportMfn(ctx, entry, start);
};

const populate: ExtentWork = (ctx, space, { order }, entry) => {
  const pfn = copyIn64(ctx, entry);
  if (pfn === undefined) return false;
  const start = withPageLock(space, () => populateExtentLocked(space, order, pfn));
  return start >= 0 && reportMfn(ctx, entry, start);
};

const decrease: ExtentWork = (ctx, space, { order }, entry) => {
  const mfn = copyIn64(ctx, entry);
  const index = mfn === undefined ? -1 : ownFrameIndex(ctx, mfn);
  return index >= 0 && withPageLock(space, () => removeExtentLocked(space, index, order));
};

/** The three calls that answer how many extents were done. */
const changeReservation = (work: ExtentWork): MemoryOp => (ctx, arg, startExtent, op) => {
  const data = copyIn(ctx, arg, RESERVATION_BYTES);
  if (data === undefined) return startExtent;
  const reservation = readReservation(data, 0);
  const { count, order } = reservation;
  if (startExtent >= count || count > 2n ** 58n - 1n || !isSelf(ctx, reservation.domid) || order > DOMU_MAX_ORDER) return startExtent;
  const space = spaceOf(ctx);
  let done = startExtent;
  for (; done < count; done++) {
    if (done - startExtent >= BigInt(BEFORE_PREEMPTION)) {
      ctx.pv.continuation = { call: __HYPERVISOR_memory_op, args: [BigInt(op) | (done << MEMOP_EXTENT_SHIFT), arg] };
      return done;
    }
    if (!work(ctx, space, reservation, reservation.extents + done * 8n)) break;
  }
  return done;
};

type MemoryOp = (ctx: VcpuContext, arg: bigint, startExtent: bigint, op: number) => bigint | number;

// --- exchange

function readList(ctx: VcpuContext, at: bigint, count: number): bigint[] | undefined {
  const data = copyIn(ctx, at, count * 8);
  return data && Array.from({ length: count }, (_, i) => data.getBigUint64(i * 8, true));
}

/** Input frames of one piece, or undefined when the list cannot be read or a frame cannot be given. */
function givenFrames(ctx: VcpuContext, mfns: readonly bigint[], order: number): number[] {
  return mfns.flatMap((mfn) => {
    const start = ownFrameIndex(ctx, mfn);
    return Array.from({ length: 2 ** order }, (_, i) => (start < 0 ? -1 : start + i));
  });
}

/** Exchanges as many extents as make one extent of the larger order. */
function exchangePiece(ctx: VcpuContext, input: Reservation, output: Reservation, inAt: bigint, outAt: bigint, inCount: number, outCount: number): number {
  const mfns = readList(ctx, input.extents + inAt * 8n, inCount), pfns = readList(ctx, output.extents + outAt * 8n, outCount);
  if (mfns === undefined || pfns === undefined) return -EFAULT;
  const given = givenFrames(ctx, mfns, input.order);
  const space = spaceOf(ctx);
  const taken = withPageLock(space, () => {
    if (new Set(given).size !== given.length || !given.every((index) => isStealable(space, index))) return -EINVAL;
    return exchangeLocked(space, given, output.order, pfns);
  });
  if (typeof taken === 'number') return taken;
  return taken.every((start, i) => reportMfn(ctx, output.extents + (outAt + BigInt(i)) * 8n, start)) ? 0 : -EFAULT;
}

function checkExchange(ctx: VcpuContext, input: Reservation, output: Reservation, exchanged: bigint): number {
  if (exchanged > input.count || input.domid !== output.domid || input.count > 2n ** 40n || output.count > 2n ** 40n) return -EINVAL;
  if (input.order > DOMU_MAX_ORDER || output.order > DOMU_MAX_ORDER) return -EPERM;
  if (input.count << BigInt(input.order) !== output.count << BigInt(output.order)) return -EINVAL;
  return isSelf(ctx, input.domid) ? 0 : -EPERM;
}

const exchange: MemoryOp = (ctx, arg, _start, op) => {
  const data = copyIn(ctx, arg, EXCHANGE_BYTES);
  if (data === undefined) return -EFAULT;
  const input = readReservation(data, 0), output = readReservation(data, RESERVATION_BYTES);
  let exchanged = data.getBigUint64(NR_EXCHANGED, true);
  let error = checkExchange(ctx, input, output, exchanged);
  if (error !== 0) return error;
  // One step is one extent of the larger order: so many of the smaller on the other side.
  const inPer = output.order > input.order ? 2 ** (output.order - input.order) : 1;
  const outPer = input.order > output.order ? 2 ** (input.order - output.order) : 1;
  if (exchanged % BigInt(inPer) !== 0n) return -EINVAL;
  for (let steps = 0; exchanged < input.count; steps++) {
    if (steps === BEFORE_PREEMPTION) { ctx.pv.continuation = { call: __HYPERVISOR_memory_op, args: [BigInt(op), arg] }; break; }
    const outAt = (exchanged / BigInt(inPer)) * BigInt(outPer);
    error = exchangePiece(ctx, input, output, exchanged, outAt, inPer, outPer);
    if (error !== 0) break;
    exchanged += BigInt(inPer);
  }
  return copyOut64(ctx, arg + BigInt(NR_EXCHANGED), exchanged) ? error : -EFAULT;
};

// --- questions

const machphysMapping: MemoryOp = (ctx, arg) => {
  const data = new Uint8Array(24);
  const view = new DataView(data.buffer);
  view.setBigUint64(0, MACH2PHYS_VIRT_START, true);
  view.setBigUint64(8, MACH2PHYS_VIRT_END, true);
  view.setBigUint64(16, MACH2PHYS_NR_ENTRIES - 1n, true);
  return ctx.processor.writeVirtual(arg, data) ? 0 : -EFAULT;
};

/** The toolstack's map of a PV domain: one range of RAM, as large as the domain may become. */
const memoryMap: MemoryOp = (ctx, arg) => {
  const data = copyIn(ctx, arg, MEMORY_MAP_BYTES);
  if (data === undefined) return -EFAULT;
  if (data.getUint32(0, true) < 1) return -EINVAL;
  const entry = new Uint8Array(E820_ENTRY_BYTES), view = new DataView(entry.buffer);
  view.setBigUint64(8, BigInt(maxFrames(spaceOf(ctx))) << 12n, true);
  view.setUint32(16, E820_RAM, true);
  if (!ctx.processor.writeVirtual(data.getBigUint64(8, true), entry)) return -EFAULT;
  data.setUint32(0, 1, true);
  return ctx.processor.writeVirtual(arg, new Uint8Array(data.buffer, data.byteOffset, MEMORY_MAP_BYTES)) ? 0 : -EFAULT;
};

/** A question about one domain, named by a domid_t at arg. */
const askDomain = (answer: (ctx: VcpuContext) => number): MemoryOp => (ctx, arg) => {
  const data = copyIn(ctx, arg, 2);
  if (data === undefined) return -EFAULT;
  return isSelf(ctx, data.getUint16(0, true)) ? answer(ctx) : -ESRCH;
};

const maximumGpfn = (ctx: VcpuContext): number => Number(ctx.processor.view.getBigUint64(ctx.sharedInfo + SHARED_INFO_MAX_PFN, true) & 0xf_ffff_ffffn) - 1;

const OPERATIONS: ReadonlyMap<number, MemoryOp> = new Map<number, MemoryOp>([
  [XENMEM_increase_reservation, changeReservation(increase)],
  [XENMEM_decrease_reservation, changeReservation(decrease)],
  [XENMEM_populate_physmap, changeReservation(populate)],
  [XENMEM_exchange, exchange],
  [XENMEM_maximum_ram_page, (ctx) => mfnOf(ctx.slot, ctx.layout.end - 1)],
  [XENMEM_current_reservation, askDomain((ctx) => allocatedFrames(spaceOf(ctx)))],
  [XENMEM_maximum_reservation, askDomain((ctx) => maxFrames(spaceOf(ctx)))],
  [XENMEM_maximum_gpfn, askDomain(maximumGpfn)],
  [XENMEM_machphys_mapping, machphysMapping],
  [XENMEM_memory_map, memoryMap],
  [XENMEM_machine_memory_map, () => -EPERM],
  [XENMEM_set_memory_map, () => -EPERM],
  // For guests whose physical addresses the hypervisor translates; a PV guest does that itself.
  [XENMEM_add_to_physmap, () => -EACCES],
  [XENMEM_add_to_physmap_batch, () => -EACCES],
  [XENMEM_remove_from_physmap, () => -EACCES],
]);

export const memory_op: HypercallHandler = (ctx, cmd, arg) => {
  const op = Number(cmd & MEMOP_CMD_MASK);
  return OPERATIONS.get(op)?.(ctx, arg, cmd >> MEMOP_EXTENT_SHIFT, op) ?? -ENOSYS;
};
