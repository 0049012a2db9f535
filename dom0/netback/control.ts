// The control ring: the frontend chooses how frames are hashed and steered to its queues. Requests are rare; each is
// copied once, answered at once, in order.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import {
  xen_netif_ctrl_request as request, xen_netif_ctrl_response as response, XEN_NETIF_CTRL_HASH_ALGORITHM_NONE,
  XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ, XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW as BUFFER_OVERFLOW,
  XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER as INVALID_PARAMETER, XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED as NOT_SUPPORTED,
  XEN_NETIF_CTRL_STATUS_SUCCESS as SUCCESS, XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS, XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE,
  XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, XEN_NETIF_CTRL_TYPE_SET_HASH_KEY,
  XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE,
} from '../../hypervisor/public/io/netif.ts';
import { grantRef, type Domid } from '../../hypervisor/public/types.ts';
import { RingError, type BackRing } from '../bus/ring.ts';
import { HASH_TYPES, MAX_KEY_BYTES, MAX_MAPPING_ENTRIES, type Steering } from './hash.ts';

const BUDGET = 32;
const ENTRIES_PER_PAGE = 4096 / 4;

export interface ControlOptions {
  readonly ring: Pick<BackRing, 'take' | 'finalCheck' | 'respond' | 'push'>;
  readonly dom: Domid;
  readonly hypercalls: Pick<Dom0Hypercalls, 'gnttabMap' | 'gnttabUnmap'>;
  readonly steering: Steering;
  notify(): void;
  broken(what: string): void;
}
interface Answer { readonly status: number; readonly data?: number }

export class ControlRing {
  readonly #o: ControlOptions;
  #stopped = false;
  #later: NodeJS.Immediate | undefined;
  constructor(options: ControlOptions) { this.#o = options; }

  kick(): void {
    if (this.#stopped || this.#later) return;
    try {
      if (!this.#run()) this.#later = setImmediate(() => { this.#later = undefined; this.kick(); });
    } catch (error) {
      if (!(error instanceof RingError)) throw error;
      this.stop();
      this.#o.broken(error.message);
    }
  }
  stop(): void { this.#stopped = true; clearImmediate(this.#later); }

  #run(): boolean {
    const { ring } = this.#o;
    let count = 0;
    try {
      do {
        for (let slot = ring.take(); slot; slot = ring.take()) {
          ring.respond(this.#handle(new DataView(slot.buffer, slot.byteOffset, slot.length)));
          if (++count >= BUDGET) return false;
        }
      } while (ring.finalCheck());
      return true;
    } finally { if (count > 0 && ring.push()) this.#o.notify(); }
  }

  #handle(view: DataView): Uint8Array {
    const id = view.getUint16(request.id, true), type = view.getUint16(request.type, true);
    const [a, b, c] = [0, 4, 8].map(at => view.getUint32(request.data + at, true)) as [number, number, number];
    const { status, data = 0 } = this.#act(type, a, b, c);
    const out = new DataView(new ArrayBuffer(request.bytes));
    out.setUint16(response.id, id, true);
    out.setUint16(response.type, type, true);
    out.setUint32(response.status, status, true);
    out.setUint32(response.data, data, true);
    return new Uint8Array(out.buffer);
  }

  #act(type: number, a: number, b: number, c: number): Answer {
    const s = this.#o.steering, chosen = s.algorithm !== XEN_NETIF_CTRL_HASH_ALGORITHM_NONE;
    switch (type) {
      case XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM:
        if (a !== XEN_NETIF_CTRL_HASH_ALGORITHM_NONE && a !== XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ) return { status: INVALID_PARAMETER };
        s.algorithm = a;
        return { status: SUCCESS };
      case XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS: return chosen ? { status: SUCCESS, data: HASH_TYPES } : { status: NOT_SUPPORTED };
      case XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS:
        if (a & ~HASH_TYPES) return { status: INVALID_PARAMETER };
        if (!chosen) return { status: INVALID_PARAMETER };
        s.types = a;
        return { status: SUCCESS };
      case XEN_NETIF_CTRL_TYPE_SET_HASH_KEY: return this.#setKey(a, b);
      case XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE: return { status: SUCCESS, data: MAX_MAPPING_ENTRIES };
      case XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE:
        if (a > MAX_MAPPING_ENTRIES) return { status: INVALID_PARAMETER };
        s.mapping = new Uint32Array(a);
        return { status: SUCCESS };
      case XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING: return this.#setMapping(a, b, c);
      default: return { status: NOT_SUPPORTED };
    }
  }

  #setKey(gref: number, byteCount: number): Answer {
    if (byteCount > MAX_KEY_BYTES) return { status: BUFFER_OVERFLOW };
    const key = byteCount === 0 ? new Uint8Array(0) : this.#copyPage(gref, byteCount);
    if (!key) return { status: INVALID_PARAMETER };
    this.#o.steering.key = key;
    return { status: SUCCESS };
  }

  #setMapping(gref: number, count: number, from: number): Answer {
    const { steering } = this.#o;
    if (count > ENTRIES_PER_PAGE || from + count > steering.mapping.length) return { status: BUFFER_OVERFLOW };
    if (count === 0) return { status: SUCCESS };
    const bytes = this.#copyPage(gref, count * 4);
    if (!bytes) return { status: INVALID_PARAMETER };
    const queues = new Uint32Array(bytes.buffer);
    if (queues.some(queue => queue >= steering.queueCount)) return { status: INVALID_PARAMETER };
    steering.mapping.set(queues, from);
    return { status: SUCCESS };
  }

  /** A private copy of a granted page's start. */
  #copyPage(gref: number, byteCount: number): Uint8Array | undefined {
    const { hypercalls, dom } = this.#o, mapping = hypercalls.gnttabMap(dom, grantRef(gref), true);
    if (typeof mapping === 'number') return undefined;
    const copy = Uint8Array.from(mapping.bytes.subarray(0, byteCount));
    hypercalls.gnttabUnmap(mapping);
    return copy;
  }
}
