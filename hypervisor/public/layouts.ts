// Guest-visible structures as data: C name, size, and the fields this project reads or writes, each with its offset.
// Shared fields carry who writes them: [XEN] the hypervisor, [GST] the guest, [BACK] the backend in Dom0.
// test/abi compares every number with what a C compiler says of Xen's public headers.

export interface Layout<Field extends string = string> { readonly struct: string; readonly header: string; readonly size: number; readonly fields: Readonly<Record<Field, number>> }
const layout = <Field extends string>(struct: string, header: string, size: number, fields: Record<Field, number>): Layout<Field> => ({ struct, header, size, fields });

export const shared_info = layout('struct shared_info', 'xen.h', 3136, { vcpu_info: 0, /* [XEN][GST] */ evtchn_pending: 0x800, /* [GST] */ evtchn_mask: 0xa00, /* [XEN] */ wc_version: 0xc00, wc_sec: 0xc04, wc_nsec: 0xc08, wc_sec_hi: 0xc0c, /* [GST] */ arch: 0xc10 });
export const vcpu_info = layout('struct vcpu_info', 'xen.h', 64, { evtchn_upcall_pending: 0, evtchn_upcall_mask: 1, evtchn_pending_sel: 8, /* [XEN] */ 'arch.cr2': 16, time: 32 });
export const vcpu_time_info = layout('struct vcpu_time_info', 'xen.h', 32, { version: 0, tsc_timestamp: 8, system_time: 16, tsc_to_system_mul: 24, tsc_shift: 28, flags: 29 });
export const start_info = layout('struct start_info', 'xen.h', 1168, {
  magic: 0, nr_pages: 32, shared_info: 40, flags: 48, store_mfn: 56, store_evtchn: 64, 'console.domU.mfn': 72, 'console.domU.evtchn': 80,
  pt_base: 88, nr_pt_frames: 96, mfn_list: 104, mod_start: 112, mod_len: 120, cmd_line: 128, first_p2m_pfn: 1152, nr_p2m_frames: 1160,
});
export const trap_info = layout('struct trap_info', 'xen.h', 16, { vector: 0, flags: 1, cs: 2, address: 8 });
export const mmu_update = layout('struct mmu_update', 'xen.h', 16, { ptr: 0, val: 8 });
export const mmuext_op = layout('struct mmuext_op', 'xen.h', 24, { cmd: 0, 'arg1.mfn': 8, 'arg2.nr_ents': 16 });
export const multicall_entry = layout('struct multicall_entry', 'xen.h', 64, { op: 0, result: 8, args: 16 });
export const vcpu_runstate_info = layout('struct vcpu_runstate_info', 'vcpu.h', 48, { state: 0, state_entry_time: 8, time: 16 });
export const vcpu_set_singleshot_timer = layout('struct vcpu_set_singleshot_timer', 'vcpu.h', 16, { timeout_abs_ns: 0, flags: 8 });
export const vcpu_register_vcpu_info = layout('struct vcpu_register_vcpu_info', 'vcpu.h', 16, { mfn: 0, offset: 8 });
export const sched_poll = layout('struct sched_poll', 'sched.h', 24, { ports: 0, nr_ports: 8, timeout: 16 });
export const evtchn_alloc_unbound = layout('struct evtchn_alloc_unbound', 'event_channel.h', 8, { dom: 0, remote_dom: 2, port: 4 });
export const evtchn_bind_interdomain = layout('struct evtchn_bind_interdomain', 'event_channel.h', 12, { remote_dom: 0, remote_port: 4, local_port: 8 });
export const evtchn_bind_virq = layout('struct evtchn_bind_virq', 'event_channel.h', 12, { virq: 0, vcpu: 4, port: 8 });
export const evtchn_bind_ipi = layout('struct evtchn_bind_ipi', 'event_channel.h', 8, { vcpu: 0, port: 4 });
export const evtchn_status = layout('struct evtchn_status', 'event_channel.h', 24, { dom: 0, port: 4, status: 8, vcpu: 12, u: 16 });
export const grant_entry_v1 = layout('struct grant_entry_v1', 'grant_table.h', 8, { flags: 0, domid: 2, frame: 4 });
export const gnttab_setup_table = layout('struct gnttab_setup_table', 'grant_table.h', 24, { dom: 0, nr_frames: 4, status: 8, frame_list: 16 });
export const gnttab_query_size = layout('struct gnttab_query_size', 'grant_table.h', 16, { dom: 0, nr_frames: 4, max_nr_frames: 8, status: 12 });
export const gnttab_map_grant_ref = layout('struct gnttab_map_grant_ref', 'grant_table.h', 32, { host_addr: 0, flags: 8, ref: 12, dom: 16, status: 18, handle: 20, dev_bus_addr: 24 });
export const gnttab_unmap_grant_ref = layout('struct gnttab_unmap_grant_ref', 'grant_table.h', 24, { host_addr: 0, dev_bus_addr: 8, handle: 16, status: 20 });
export const gnttab_copy = layout('struct gnttab_copy', 'grant_table.h', 40, {
  'source.u.gmfn': 0, 'source.domid': 8, 'source.offset': 10, 'dest.u.gmfn': 16, 'dest.domid': 24, 'dest.offset': 26, len: 32, flags: 34, status: 36,
});
export const xen_memory_reservation = layout('struct xen_memory_reservation', 'memory.h', 32, { extent_start: 0, nr_extents: 8, extent_order: 16, mem_flags: 20, domid: 24 });
export const xen_machphys_mapping = layout('struct xen_machphys_mapping', 'memory.h', 24, { v_start: 0, v_end: 8, max_mfn: 16 });
export const callback_register = layout('struct callback_register', 'callback.h', 16, { type: 0, flags: 2, address: 8 });
export const xen_feature_info = layout('struct xen_feature_info', 'version.h', 8, { submap_idx: 0, submap: 4 });
export const xencons_interface = layout('struct xencons_interface', 'io/console.h', 3088, { in: 0, out: 1024, in_cons: 3072, in_prod: 3076, out_cons: 3080, out_prod: 3084 });
export const xenstore_domain_interface = layout('struct xenstore_domain_interface', 'io/xs_wire.h', 2076, { req: 0, rsp: 1024, req_cons: 2048, req_prod: 2052, rsp_cons: 2056, rsp_prod: 2060, server_features: 2064, connection: 2068, error: 2072 });
export const xsd_sockmsg = layout('struct xsd_sockmsg', 'io/xs_wire.h', 16, { type: 0, req_id: 4, tx_id: 8, len: 12 });
export const blkif_request = layout('struct blkif_request', 'io/blkif.h', 112, { operation: 0, nr_segments: 1, handle: 2, id: 8, sector_number: 16, seg: 24 });
export const blkif_request_segment = layout('struct blkif_request_segment', 'io/blkif.h', 8, { gref: 0, first_sect: 4, last_sect: 5 });
export const blkif_request_indirect = layout('struct blkif_request_indirect', 'io/blkif.h', 64, { operation: 0, indirect_op: 1, nr_segments: 2, id: 8, sector_number: 16, handle: 24, indirect_grefs: 28 });
export const blkif_request_discard = layout('struct blkif_request_discard', 'io/blkif.h', 32, { operation: 0, flag: 1, handle: 2, id: 8, sector_number: 16, nr_sectors: 24 });
export const blkif_response = layout('struct blkif_response', 'io/blkif.h', 16, { id: 0, operation: 8, status: 10 });
export const netif_tx_request = layout('struct netif_tx_request', 'io/netif.h', 12, { gref: 0, offset: 4, flags: 6, id: 8, size: 10 });
export const netif_tx_response = layout('struct netif_tx_response', 'io/netif.h', 4, { id: 0, status: 2 });
export const netif_rx_request = layout('struct netif_rx_request', 'io/netif.h', 8, { id: 0, gref: 4 });
export const netif_rx_response = layout('struct netif_rx_response', 'io/netif.h', 8, { id: 0, offset: 2, flags: 4, status: 6 });
export const netif_extra_info = layout('struct netif_extra_info', 'io/netif.h', 8, {
  type: 0, flags: 1, 'u.gso.size': 2, 'u.gso.type': 4, 'u.gso.features': 6, 'u.mcast.addr': 2, 'u.hash.type': 2, 'u.hash.algorithm': 3, 'u.hash.value': 4,
});
export const xen_netif_ctrl_request = layout('struct xen_netif_ctrl_request', 'io/netif.h', 16, { id: 0, type: 2, data: 4 });
export const xen_netif_ctrl_response = layout('struct xen_netif_ctrl_response', 'io/netif.h', 12, { id: 0, type: 2, status: 4, data: 8 });

export const LAYOUTS: readonly Layout[] = [
  shared_info, vcpu_info, vcpu_time_info, start_info, trap_info, mmu_update, mmuext_op, multicall_entry,
  vcpu_runstate_info, vcpu_set_singleshot_timer, vcpu_register_vcpu_info, sched_poll, evtchn_alloc_unbound,
  evtchn_bind_interdomain, evtchn_bind_virq, evtchn_bind_ipi, evtchn_status, grant_entry_v1, gnttab_setup_table,
  gnttab_query_size, gnttab_map_grant_ref, gnttab_unmap_grant_ref, gnttab_copy, xen_memory_reservation,
  xen_machphys_mapping, callback_register, xen_feature_info, xencons_interface, xenstore_domain_interface,
  xsd_sockmsg, blkif_request, blkif_request_segment, blkif_request_indirect, blkif_request_discard, blkif_response,
  netif_tx_request, netif_tx_response, netif_rx_request, netif_rx_response, netif_extra_info, xen_netif_ctrl_request, xen_netif_ctrl_response,
];
