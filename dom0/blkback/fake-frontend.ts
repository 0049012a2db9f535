// A blkfront for tests: guest frames, grants and a ring in ordinary memory.
import { grantRef, mfn, type Domid, type GrantRef } from '../../hypervisor/public/types.ts';
import type { GrantMapping } from '../../hypervisor/public/dom0-hypercalls.ts';
import { blkif_request, REQUEST_BYTES, blkif_request_indirect, blkif_response, blkif_request_segment } from '../../hypervisor/public/io/blkif.ts';
import type { BackRing } from './ring.ts';

const PAGE = 4096;
export interface SegmentSpec { gref: number; first?: number; last?: number }
export interface Answer { id: bigint; operation: number; status: number }

export class FakeGuest {
  readonly frames = new Map<number, Uint8Array<SharedArrayBuffer>>();
  readonly mapped = new Map<number, number>();
  readonly wrote: number[] = [];
  mapCalls = 0;

  /** Grants a new zeroed frame under `ref`. */
  grant(ref: number, fill = 0): Uint8Array<SharedArrayBuffer> {
    const frame = new Uint8Array(new SharedArrayBuffer(PAGE)).fill(fill);
    this.frames.set(ref, frame);
    return frame;
  }
  get mappedCount(): number { return [...this.mapped.values()].reduce((a, b) => a + b, 0); }

  readonly hypercalls = {
    gnttabMap: (dom: Domid, ref: GrantRef, readOnly: boolean): GrantMapping | number => {
      this.mapCalls++;
      const bytes = this.frames.get(ref);
      if (!bytes) return -1;
      this.mapped.set(ref, (this.mapped.get(ref) ?? 0) + 1);
      return { domid: dom, ref, readOnly, handle: ref, mfn: mfn(ref), bytes };
    },
    gnttabUnmap: (mapping: GrantMapping): number => { this.mapped.set(mapping.ref, this.mapped.get(mapping.ref)! - 1); return 0; },
    gnttabWrote: (mapping: GrantMapping): void => { this.wrote.push(mapping.ref); },
    eventsWait: (): boolean => false,
  };
}

/** A ring without shared memory: the same calls, a queue behind them. */
export class FakeRing implements BackRing {
  readonly requests: Uint8Array[] = [];
  readonly answers: Answer[] = [];
  pushes = 0;
  take(): Uint8Array | undefined { return this.requests.shift(); }
  get unconsumed(): number { return this.requests.length; }
  finalCheck(): boolean { return this.requests.length > 0; }
  answer(_request: Uint8Array, bytes: Uint8Array): void {
    const d = new DataView(bytes.buffer, bytes.byteOffset);
    this.answers.push({ id: d.getBigUint64(blkif_response.id, true), operation: d.getUint8(blkif_response.operation), status: d.getInt16(blkif_response.status, true) });
  }
  push(): boolean { this.pushes++; return true; }
}

export function encodeRequest(operation: number, id: number, sector: number, segments: readonly SegmentSpec[] = []): Uint8Array {
  const entry = new Uint8Array(REQUEST_BYTES), d = new DataView(entry.buffer);
  d.setUint8(blkif_request.operation, operation);
  d.setUint8(blkif_request.nr_segments, segments.length);
  d.setBigUint64(blkif_request.id, BigInt(id), true);
  d.setBigUint64(blkif_request.sector_number, BigInt(sector), true);
  encodeSegments(entry, blkif_request.seg, segments);
  return entry;
}

export function encodeSegments(into: Uint8Array, at: number, segments: readonly SegmentSpec[]): void {
  const d = new DataView(into.buffer, into.byteOffset);
  for (const { gref, first = 0, last = 7 } of segments) {
    d.setUint32(at + blkif_request_segment.gref, gref, true);
    d.setUint8(at + blkif_request_segment.first_sect, first);
    d.setUint8(at + blkif_request_segment.last_sect, last);
    at += blkif_request_segment.bytes;
  }
}

export function encodeIndirect(op: number, id: number, sector: number, count: number, pages: readonly number[]): Uint8Array {
  const entry = new Uint8Array(REQUEST_BYTES), d = new DataView(entry.buffer);
  d.setUint8(0, 6);
  d.setUint8(blkif_request_indirect.indirect_op, op);
  d.setUint16(blkif_request_indirect.nr_segments, count, true);
  d.setBigUint64(blkif_request_indirect.id, BigInt(id), true);
  d.setBigUint64(blkif_request_indirect.sector_number, BigInt(sector), true);
  pages.forEach((ref, i) => d.setUint32(blkif_request_indirect.indirect_grefs + 4 * i, grantRef(ref), true));
  return entry;
}
