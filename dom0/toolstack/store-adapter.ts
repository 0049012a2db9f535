// Dom0's xenstore client as the toolstack's Store. Xenstore values are bytes; names and paths of files are UTF-8.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import { mfnIndex, type Domid, type EvtchnPort, type Mfn } from '../../hypervisor/public/types.ts';
import type { XenStore } from '../xenstore/client.ts';
import { checked } from './errors.ts';
import type { Store, StorePermissions } from './ports.ts';

/** The part of the xenstore server that is not a client's business. */
export interface RingServer {
  /** @param pageBytes the ring page @param port the guest's unbound event channel */
  introduce(domid: number, pageBytes: Uint8Array<SharedArrayBuffer>, port: number): void;
  resume(domid: number): void;
  release(domid: number): void;
}

/** One frame of a domain, as Dom0 sees it. @throws ToolstackError if the domain is gone */
export function framePage(hypercalls: Pick<Dom0Hypercalls, 'foreign'>, dom: Domid, frame: Mfn): Uint8Array<SharedArrayBuffer> {
  const at = mfnIndex(frame) * PAGE_BYTES;
  return checked(hypercalls.foreign(dom), 'mapping the domain').bytes.subarray(at, at + PAGE_BYTES);
}

const PAGE_BYTES = 4096;
const toBytes = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
const toText = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8');

export class StoreAdapter implements Store {
  readonly #xs: XenStore;
  readonly #server: RingServer;
  readonly #hypercalls: Pick<Dom0Hypercalls, 'foreign'>;
  #tokens = 0;
  /** What was read since anything changed in xenstore: a list of domains asks for the same nodes as the one before. */
  readonly #known = new Map<string, string | undefined>();
  #version: object | undefined;
  constructor(xs: XenStore, server: RingServer, hypercalls: Pick<Dom0Hypercalls, 'foreign'>) { this.#xs = xs; this.#server = server; this.#hypercalls = hypercalls; }

  read(path: string): string | undefined {
    const { version } = this.#xs;
    if (version !== this.#version) { this.#known.clear(); this.#version = version; }
    if (this.#known.has(path)) return this.#known.get(path);
    const bytes = this.#xs.read(path), value = bytes === undefined ? undefined : toText(bytes);
    this.#known.set(path, value);
    return value;
  }
  write(path: string, value: string): void { this.#xs.write(path, toBytes(value)); }
  remove(path: string): void { this.#xs.remove(path); }
  setPermissions(path: string, permissions: StorePermissions): void { this.#xs.setPerms(path, [...permissions]); }
  list(path: string): string[] { return this.#xs.list(path); }
  watch(path: string, handler: (path: string) => void): () => void { return this.#xs.watch(path, `toolstack-${++this.#tokens}`, changed => handler(changed)); }
  introduce(dom: Domid, ringMfn: Mfn, port: EvtchnPort): void { this.#server.introduce(dom, framePage(this.#hypercalls, dom, ringMfn), port); }
  resume(dom: Domid): void { this.#server.resume(dom); }
  release(dom: Domid): void { this.#server.release(dom); }
}
