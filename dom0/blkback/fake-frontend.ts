// A blkfront for tests: guest frames, grants and a ring in ordinary memory.
import { grantRef, mfn, type Domid, type GrantRef } from '../../hypervisor/public/types.ts';
import type { GrantMapping } from '../../hypervisor/public/dom0-hypercalls.ts';
import { REQUEST, REQUEST_BYTES, REQUEST_INDIRECT, RESPONSE, SEGMENT } from './blkif.ts';
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
  };
}

/** A ring without shared memory: the same calls, a queue behind them. */
export class FakeRing implements BackRing {
  readonly requests: Uint8Array[] = [];
  readonly answers: Answer[] = [];
  pushes = 0;
  take(): Uint8Array | undefined { return this.requests.shift(); }
  finalCheck(): boolean { return this.requests.length > 0; }
  respond(bytes: Uint8Array): void {
    const d = new DataView(bytes.buffer, bytes.byteOffset);
    this.answers.push({ id: d.getBigUint64(RESPONSE.id, true), operation: d.getUint8(RESPONSE.operation), status: d.getInt16(RESPONSE.status, true) });
  }
  push(): boolean { this.pushes++; return true; }
}

export function encodeRequest(operation: number, id: number, sector: number, segments: readonly SegmentSpec[] = []): Uint8Array {
  const entry = new Uint8Array(REQUEST_BYTES), d = new DataView(entry.buffer);
  d.setUint8(REQUEST.operation, operation);
  d.setUint8(REQUEST.nr_segments, segments.length);
  d.setBigUint64(REQUEST.id, BigInt(id), true);
  d.setBigUint64(REQUEST.sector_number, BigInt(sector), true);
  encodeSegments(entry, REQUEST.seg, segments);
  return entry;
}

export function encodeSegments(into: Uint8Array, at: number, segments: readonly SegmentSpec[]): void {
  const d = new DataView(into.buffer, into.byteOffset);
  for (const { gref, first = 0, last = 7 } of segments) {
    d.setUint32(at + SEGMENT.gref, gref, true);
    d.setUint8(at + SEGMENT.first_sect, first);
    d.setUint8(at + SEGMENT.last_sect, last);
    at += SEGMENT.bytes;
  }
}

export function encodeIndirect(op: number, id: number, sector: number, count: number, pages: readonly number[]): Uint8Array {
  const entry = new Uint8Array(REQUEST_BYTES), d = new DataView(entry.buffer);
  d.setUint8(0, 6);
  d.setUint8(REQUEST_INDIRECT.indirect_op, op);
  d.setUint16(REQUEST_INDIRECT.nr_segments, count, true);
  d.setBigUint64(REQUEST_INDIRECT.id, BigInt(id), true);
  d.setBigUint64(REQUEST_INDIRECT.sector_number, BigInt(sector), true);
  pages.forEach((ref, i) => d.setUint32(REQUEST_INDIRECT.indirect_grefs + 4 * i, grantRef(ref), true));
  return entry;
}
