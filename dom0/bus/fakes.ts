// A hypervisor for tests of Dom0: event channels, grants and domains in ordinary memory.
import type { Dom0Hypercalls, DomainInfo, GrantMapping } from '../../hypervisor/public/dom0-hypercalls.ts';
import { domid as asDomid, evtchnPort, mfn, type Domid, type EvtchnPort, type GrantRef } from '../../hypervisor/public/types.ts';

export type Page = Uint8Array<SharedArrayBuffer>;
export const newPage = (): Page => new Uint8Array(new SharedArrayBuffer(4096));

const EINVAL = 22, ESRCH = 3, ENXIO = 6;

interface Channel { readonly domid: number; readonly remotePort: number; handler?: () => void }

export class FakeHypervisor {
  readonly #channels = new Map<number, Channel>();
  readonly #grants = new Map<string, Page>();
  #nextPort = 1;
  /** Grants mapped and not unmapped. */
  readonly mapped = new Map<string, number>();
  /** Events sent to guests, as `domid:port`. */
  readonly sent: string[] = [];
  readonly closed: number[] = [];
  readonly domains = new Map<number, DomainInfo>();
  /** Guest ports that nobody may bind to. */
  readonly unbindable = new Set<number>();

  get mappedCount(): number { return [...this.mapped.values()].reduce((a, b) => a + b, 0); }
  get boundCount(): number { return this.#channels.size; }

  grant(domid: number, ref: number, page: Page = newPage()): Page {
    this.#grants.set(`${domid}:${ref}`, page);
    return page;
  }
  addDomain(domid: number, state: Partial<DomainInfo> = {}): void {
    this.domains.set(domid, {
      domid: asDomid(domid), uuid: '', slot: domid, running: true, blocked: false, paused: false, dying: false, shutdown: false, crashed: false,
      shutdownReason: 0, memKib: 0, maxMemKib: 0, vcpusOnline: 1, vcpus: 1, cpuTimeNs: 0n, sharedInfoMfn: mfn(0), ...state,
    });
  }
  /** The guest sends an event on its `port`. */
  fire(domid: number, port: number): void {
    for (const channel of this.#channels.values()) if (channel.domid === domid && channel.remotePort === port) channel.handler?.();
  }
  sentTo(domid: number, port: number): number { return this.sent.filter(s => s === `${domid}:${port}`).length; }

  readonly hypercalls: Pick<Dom0Hypercalls, 'evtchnBindInterdomain' | 'evtchnSend' | 'evtchnClose' | 'onEvent' | 'gnttabMap' | 'gnttabUnmap' | 'gnttabCopyFrom' | 'gnttabCopyTo' | 'domainInfo'> = {
    evtchnBindInterdomain: (remote: Domid, remotePort: EvtchnPort) => {
      if (this.unbindable.has(remotePort)) return -EINVAL;
      const port = this.#nextPort++;
      this.#channels.set(port, { domid: remote, remotePort });
      return evtchnPort(port);
    },
    evtchnSend: port => {
      const channel = this.#channels.get(port);
      if (!channel) return -EINVAL;
      this.sent.push(`${channel.domid}:${channel.remotePort}`);
      return 0;
    },
    evtchnClose: port => { this.closed.push(port); return this.#channels.delete(port) ? 0 : -EINVAL; },
    onEvent: (port, handler) => {
      const channel = this.#channels.get(port);
      if (channel) channel.handler = handler;
    },
    gnttabMap: (dom: Domid, ref: GrantRef, readOnly: boolean): GrantMapping | number => {
      const key = `${dom}:${ref}`, bytes = this.#grants.get(key);
      if (!bytes) return -ENXIO;
      this.mapped.set(key, (this.mapped.get(key) ?? 0) + 1);
      return { domid: dom, ref, readOnly, handle: ref, mfn: mfn(ref), bytes };
    },
    gnttabUnmap: mapping => {
      const key = `${mapping.domid}:${mapping.ref}`, count = this.mapped.get(key) ?? 0;
      if (count === 0) return -EINVAL;
      this.mapped.set(key, count - 1);
      return 0;
    },
    gnttabCopyFrom: (dom, ref, offset, to) => {
      const bytes = this.#grants.get(`${dom}:${ref}`);
      if (!bytes || offset + to.length > bytes.length) return -EINVAL;
      to.set(bytes.subarray(offset, offset + to.length));
      return 0;
    },
    gnttabCopyTo: (dom, ref, offset, from) => {
      const bytes = this.#grants.get(`${dom}:${ref}`);
      if (!bytes || offset + from.length > bytes.length) return -EINVAL;
      bytes.set(from, offset);
      return 0;
    },
    domainInfo: dom => this.domains.get(dom) ?? -ESRCH,
  };
}

/** Lets everything that is due run: microtasks, immediates. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 8; i++) await new Promise<void>(resolve => setImmediate(resolve));
}
