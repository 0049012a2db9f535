// HYPERVISOR_grant_table_op(cmd, uop, count): public/grant_table.h, as a DomU with version 1 tables uses it.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { vcpuOf, type Vcpu } from '../domain/vcpu.ts';
import { D, GRANT_FRAMES_MAX } from '../domain/state.ts';
import { type CopyEnd, copyGrant } from '../grant/copy.ts';
import { growTable } from '../grant/table.ts';
import { spaceOf } from '../mm/flush.ts';
import { copyIn, copyOut64 } from '../mm/guest-access.ts';
import { EFAULT, EINVAL, ENOSYS } from '../public/errno.ts';
import * as op from '../public/grant_table.ts';
import { gnttab_copy as COPY, gnttab_map_grant_ref as MAP, gnttab_unmap_grant_ref as UNMAP } from '../public/layouts.ts';
import { mfnOf } from '../public/types.ts';
import { DOMID_SELF } from '../public/xen.ts';

const COUNT_MAX = 1024n;
interface Call { readonly bytes: number; readonly run: (v: Vcpu, a: DataView<ArrayBuffer>) => number }
const self = (v: Vcpu, dom: number): boolean => dom === DOMID_SELF || dom === v.domid;

const CALLS: Record<number, Call> = {
  // gnttab_setup_table: u16 dom, u32 nr_frames, s16 status, frame list.
  [op.GNTTABOP_setup_table]: { bytes: 24, run: (v, a) => {
    const frames = a.getUint32(4, true);
    if (!self(v, a.getUint16(0, true))) a.setInt16(8, op.GNTST_permission_denied, true);
    else if (frames > GRANT_FRAMES_MAX || growTable(v.hv, spaceOf(v), v.slot, frames) < frames) a.setInt16(8, op.GNTST_general_error, true);
    else {
      a.setInt16(8, op.GNTST_okay, true);
      for (let i = 0; i < frames; i++) if (!copyOut64(v, a.getBigUint64(16, true) + BigInt(8 * i), BigInt(mfnOf(v.slot, v.hv.state.dget(v.slot, D.grantFrame + i))))) a.setInt16(8, op.GNTST_bad_virt_addr, true);
    }
    return 0;
  } },
  // gnttab_query_size: u16 dom, u32 nr_frames, u32 max_nr_frames, s16 status.
  [op.GNTTABOP_query_size]: { bytes: 16, run: (v, a) => {
    if (!self(v, a.getUint16(0, true))) { a.setInt16(12, op.GNTST_permission_denied, true); return 0; }
    a.setUint32(4, v.hv.state.dget(v.slot, D.grantFrames), true);
    a.setUint32(8, GRANT_FRAMES_MAX, true);
    a.setInt16(12, op.GNTST_okay, true);
    return 0;
  } },
  // gnttab_set_version: u32 version in and out. Version 2 is off.
  [op.GNTTABOP_set_version]: { bytes: 4, run: (_v, a) => { const wanted = a.getUint32(0, true); a.setUint32(0, 1, true); return wanted === 1 ? 0 : wanted === 2 ? -ENOSYS : -EINVAL; } },
  [op.GNTTABOP_get_version]: { bytes: 8, run: (v, a) => { if (self(v, a.getUint16(0, true))) a.setUint32(4, 1, true); return 0; } },
  [op.GNTTABOP_copy]: { bytes: COPY.size, run: (v, a) => { a.setInt16(COPY.fields.status, copy(v, a), true); return 0; } },
  // A DomU maps no foreign grants yet: every request is answered with an error of its own.
  [op.GNTTABOP_map_grant_ref]: { bytes: MAP.size, run: (v, a) => {
    v.log(`mapping of grant ${a.getUint32(MAP.fields.ref, true)} of d${a.getUint16(MAP.fields.dom, true)} refused: domains without privilege map no grants`);
    a.setInt16(MAP.fields.status, op.GNTST_general_error, true);
    return 0;
  } },
  [op.GNTTABOP_unmap_grant_ref]: { bytes: UNMAP.size, run: (_v, a) => { a.setInt16(UNMAP.fields.status, op.GNTST_bad_handle, true); return 0; } },
};
function copy(v: Vcpu, a: DataView): number {
  const f = COPY.fields, flags = a.getUint16(f.flags, true), domid = (n: number): number => n === DOMID_SELF ? v.domid : n;
  const source: CopyEnd = { isGrant: (flags & op.GNTCOPY_source_gref) !== 0, value: a.getBigUint64(f['source.u.gmfn'], true), domid: domid(a.getUint16(f['source.domid'], true)), offset: a.getUint16(f['source.offset'], true) };
  const dest: CopyEnd = { isGrant: (flags & op.GNTCOPY_dest_gref) !== 0, value: a.getBigUint64(f['dest.u.gmfn'], true), domid: domid(a.getUint16(f['dest.domid'], true)), offset: a.getUint16(f['dest.offset'], true) };
  return copyGrant({ hv: v.hv, slot: v.slot, domid: v.domid, space: spaceOf(v) }, source, dest, a.getUint16(f.len, true));
}
export const grant_table_op: HypercallHandler = (ctx, cmd, uop, count) => {
  const call = CALLS[Number(cmd)], v = vcpuOf(ctx);
  if (!call) return -ENOSYS;
  if (count > COUNT_MAX) return -EINVAL;
  for (let i = 0n; i < count; i++) {
    const at = uop + i * BigInt(call.bytes), a = copyIn(ctx, at, call.bytes);
    if (!a) return -EFAULT;
    const result = call.run(v, a);
    if (!ctx.processor.writeVirtual(at, new Uint8Array(a.buffer))) return -EFAULT;
    if (result < 0) return result;
  }
  return 0;
};
