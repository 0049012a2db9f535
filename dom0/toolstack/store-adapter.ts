// Dom0's xenstore client as the toolstack's Store. Xenstore values are bytes; names and paths of files are UTF-8.
import type { Domid, EvtchnPort, Mfn } from '../../hypervisor/public/types.ts';
import type { XenStore } from '../xenstore/client.ts';
import type { Maybe, Store, StorePermissions } from './ports.ts';

/** The part of the xenstore server that is not a client's business. */
export interface RingServer {
  introduce(dom: Domid, ringMfn: Mfn, port: EvtchnPort): Maybe<unknown>;
  release(dom: Domid): Maybe<unknown>;
}

const toBytes = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
const toText = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8');

export class StoreAdapter implements Store {
  readonly #xs: XenStore;
  readonly #server: RingServer;
  #tokens = 0;
  constructor(xs: XenStore, server: RingServer) { this.#xs = xs; this.#server = server; }

  read(path: string): string | undefined { const value = this.#xs.read(path); return value === undefined ? undefined : toText(value); }
  write(path: string, value: string): void { this.#xs.write(path, toBytes(value)); }
  remove(path: string): void { this.#xs.remove(path); }
  setPermissions(path: string, permissions: StorePermissions): void { this.#xs.setPerms(path, [...permissions]); }
  list(path: string): string[] { return this.#xs.list(path); }
  watch(path: string, handler: (path: string) => void): () => void { return this.#xs.watch(path, `toolstack-${++this.#tokens}`, changed => handler(changed)); }
  async introduce(dom: Domid, ringMfn: Mfn, port: EvtchnPort): Promise<void> { await this.#server.introduce(dom, ringMfn, port); }
  async release(dom: Domid): Promise<void> { await this.#server.release(dom); }
}
