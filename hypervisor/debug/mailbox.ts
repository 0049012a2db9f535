// The mailbox by which Dom0 debugs a domain: one per memory slot, in the hypervisor's shared state.
//
//   word 0 domid   1 asked   2 answered   3 vcpu   4 operation   5 length   6-7 address   8 result   9 stops   10 hold new
//   word 16 ..     why each vCPU is held (DEBUG_STOP)                                      128 .. data
//
// Dom0 writes a request, counts `asked` up and kicks the vCPU; the vCPU's thread does it, writes result and data, and
// sets `answered` to the same number. One request is under way at a time: Dom0 sees to that. A box whose `domid` is
// another domain's is empty.
import type { HypervisorState } from '../domain/state.ts';
import { DEBUG_DATA_BYTES, type DebugStop } from '../public/debug.ts';

/** Words of a box. [dom0] [vcpu] say who writes. */
export const B = {
  /** [dom0] */
  domid: 0, asked: 1,
  /** [vcpu] */
  answered: 2,
  /** [dom0] */
  vcpu: 3, operation: 4,
  /** Bytes of data, of the request and then of the answer. [dom0] [vcpu] */
  length: 5,
  /** [dom0] */
  addressLow: 6, addressHigh: 7,
  /** [vcpu] */
  result: 8,
  /** Counted up when a vCPU stops by itself. [vcpu] */
  stops: 9,
  /** 1: vCPUs that start now are held at their first instruction. [dom0] */
  holdNew: 10,
  /** [vcpu] */
  stop: 16,
} as const;

export class Mailbox {
  readonly words: Int32Array<SharedArrayBuffer>;
  /** Word of the box's first in `words`. */
  readonly at: number;
  readonly data: Uint8Array<SharedArrayBuffer>;
  constructor(state: HypervisorState, slot: number) {
    const { buffer, byteOffset } = state.debugBox(slot);
    this.words = new Int32Array(buffer);
    this.at = byteOffset / 4;
    this.data = new Uint8Array(buffer, byteOffset + 512, DEBUG_DATA_BYTES);

  }
  get(field: number): number { return Atomics.load(this.words, this.at + field); }
  set(field: number, v: number): void { Atomics.store(this.words, this.at + field, v); }
  get address(): bigint { return BigInt(this.get(B.addressHigh) >>> 0) << 32n | BigInt(this.get(B.addressLow) >>> 0); }
  set address(v: bigint) { this.set(B.addressLow, Number(v & 0xffffffffn) | 0); this.set(B.addressHigh, Number(v >> 32n & 0xffffffffn) | 0); }
  stopOf(vcpu: number): DebugStop { return this.get(B.stop + vcpu) as DebugStop; }
  setStop(vcpu: number, reason: DebugStop): void { this.set(B.stop + vcpu, reason); }
  bump(field: number): void {
    Atomics.add(this.words, this.at + field, 1);
    Atomics.notify(this.words, this.at + field);
  }
  /** For a domain that the box has not served yet. */
  takeFor(domid: number): void {
    if (this.get(B.domid) === domid) return;
    this.words.fill(0, this.at, this.at + 128);
    this.set(B.domid, domid);
  }
}
