// What the backends count of disks and interfaces, as families of Prometheus's: the counters' own names stay inside.
import type { DomainView } from '../toolstack/action.ts';
import type { Families } from './families.ts';

const SECTOR_BYTES = 512;
const DISK_REQUESTS = { rd_req: 'read', wr_req: 'write', f_req: 'flush', ds_req: 'discard' } as const;
const DISK_BYTES = { rd_sect: 'read', wr_sect: 'write' } as const;
const DIRECTIONS = { tx: 'transmit', rx: 'receive' } as const;

/** A counter that a backend does not have is 0. */
export function addDisks(out: Families, { domid, name, disks }: DomainView): void {
  for (const { vdev, counters } of disks) {
    const labels = { domid, name, vdev }, of = (counter: string): number => counters[counter] ?? 0;
    for (const [counter, operation] of Object.entries(DISK_REQUESTS)) out.add('xenolith_disk_requests_total', 'counter', 'Requests that the disk backend took.', of(counter), { ...labels, operation });
    for (const [counter, operation] of Object.entries(DISK_BYTES)) out.add('xenolith_disk_bytes_total', 'counter', 'Bytes that the disk backend moved.', of(counter) * SECTOR_BYTES, { ...labels, operation });
    out.add('xenolith_disk_errors_total', 'counter', 'Requests answered with an error.', of('errors'), labels);
    out.add('xenolith_disk_stalls_total', 'counter', 'Times the disk backend ran out of request slots.', of('oo_req'), labels);
    out.add('xenolith_disk_queue_depth', 'gauge', 'Requests that the disk backend has not answered yet.', of('in_flight'), labels);
    out.add('xenolith_disk_persistent_grants', 'gauge', 'Frames that the disk backend keeps mapped.', of('persistent_grants'), labels);
  }
}

/** Directions are the guest's. */
export function addVifs(out: Families, { domid, name, vifs }: DomainView): void {
  for (const { devid, counters } of vifs) {
    const labels = { domid, name, vif: devid }, of = (counter: string): number => counters[counter] ?? 0;
    for (const [prefix, direction] of Object.entries(DIRECTIONS)) {
      out.add('xenolith_net_bytes_total', 'counter', "Bytes of frames, by the guest's direction.", of(`${prefix}_bytes`), { ...labels, direction });
      out.add('xenolith_net_packets_total', 'counter', "Frames, by the guest's direction.", of(`${prefix}_packets`), { ...labels, direction });
    }
    out.add('xenolith_net_transmit_errors_total', 'counter', 'Frames refused because of what the guest wrote.', of('tx_errors'), labels);
    out.add('xenolith_net_receive_drops_total', 'counter', 'Frames for the guest that found no room.', of('rx_dropped'), labels);
    out.add('xenolith_net_throttled_total', 'counter', 'Times the guest had to wait for its rate.', of('throttled'), labels);
    out.add('xenolith_net_queue_bytes', 'gauge', 'Bytes that wait for the guest to give buffers.', of('rx_queued'), labels);
  }
}
