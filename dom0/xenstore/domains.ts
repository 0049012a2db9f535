// The domains that talk to xenstore: their rings, event channels and connections, from INTRODUCE to their end.
import type { Dom0Hypercalls, GrantMapping } from '../../hypervisor/public/dom0-hypercalls.ts';
import { GNTTAB_RESERVED_XENSTORE } from '../../hypervisor/public/io/xs_wire.ts';
import { domid as asDomid, evtchnPort, grantRef, type EvtchnPort } from '../../hypervisor/public/types.ts';
import { Connection } from './connection.ts';
import type { Daemon, DomainTable } from './daemon.ts';
import { refuse } from './errors.ts';
import { handleMessage } from './requests.ts';
import type { DomainState, LiveDomain, StoreJournal } from './records.ts';
import { RingTransport, type RingNotes } from './ring-transport.ts';
import { Transaction } from './transaction.ts';

/** `foreign` is for taking over from a daemon before. */
export type DomainsHypercalls = Partial<Pick<Dom0Hypercalls, 'foreign'>> & Pick<Dom0Hypercalls,
  'evtchnBindInterdomain' | 'evtchnSend' | 'evtchnClose' | 'onEvent' | 'gnttabMap' | 'gnttabUnmap' | 'domainInfo'>;

interface Introduced {
  readonly connection: Connection;
  ring: RingTransport; page: Uint8Array<SharedArrayBuffer>;
  readonly mapping: GrantMapping | undefined;
  readonly channel: Channel;
  /** The guest's port. */
  port: number;
  /** Its shutdown has been announced. */
  shutdown: boolean;
}
/** Dom0's end of the event channel; another INTRODUCE gives another port. */
interface Channel { port: EvtchnPort }

export class Domains implements DomainTable {
  readonly #daemon: Daemon;
  readonly #hypercalls: DomainsHypercalls;
  readonly #domains = new Map<number, Introduced>();

  constructor(daemon: Daemon, hypercalls: DomainsHypercalls) { this.#daemon = daemon; this.#hypercalls = hypercalls; }

  isIntroduced(domid: number): boolean { return this.#domains.has(domid); }
  connection(domid: number): Connection | undefined { return this.#domains.get(domid)?.connection; }

  /**
   * Serves the domain's ring; introducing it again binds a new port and empties the queues.
   * @param port the guest's unbound port
   * @param page mapped by its reserved grant reference if not given
   * @throws XsError EINVAL
   */
  introduce(domid: number, port: number, page?: Uint8Array<SharedArrayBuffer>): void {
    const known = this.#domains.get(domid);
    const local = this.#hypercalls.evtchnBindInterdomain(asDomid(domid), evtchnPort(port));
    if (local < 0) refuse('EINVAL', `d${domid}: port ${port} cannot be bound (error ${local})`);
    if (known) {
      this.#hypercalls.evtchnClose(known.channel.port);
      known.channel.port = local as EvtchnPort;
      if (page && page !== known.page) this.#replaceRing(known, domid, page);
    } else this.#domains.set(domid, this.#newDomain(domid, local as EvtchnPort, page));
    const domain = this.#domains.get(domid)!;
    domain.port = port;
    domain.shutdown = false;
    this.#daemon.journal?.introduced(domid, port, frameOf(domain.page));
    this.#daemon.journal?.shutdown(domid, false);
    domain.ring.restart();
    this.#hypercalls.onEvent(domain.channel.port, () => domain.ring.onEvent());
    if (!known) this.#daemon.announceIntroduced(domid);
  }

  release(domid: number): void {
    const domain = this.#domains.get(domid);
    if (!domain) return;
    this.#domains.delete(domid);
    this.#daemon.journal?.released(domid);
    domain.ring.close();
    this.#daemon.reset(domain.connection);
    this.#hypercalls.evtchnClose(domain.channel.port);
    if (domain.mapping) this.#hypercalls.gnttabUnmap(domain.mapping);
    for (const other of this.#domains.values()) if (other.connection.actor.target === domid) other.connection.actor.target = undefined;
    this.#daemon.forgetDomain(domid);
    this.#daemon.announceReleased(domid);
  }

  resume(domid: number): void {
    const domain = this.#domains.get(domid);
    if (!domain) return;
    domain.shutdown = false;
    this.#daemon.journal?.shutdown(domid, false);
  }

  /** As a daemon that takes over notes them. */
  *live(): Generator<readonly [number, LiveDomain]> {
    for (const [domid, d] of this.#domains) yield [domid, { connection: d.connection, port: d.port, frame: frameOf(d.page), shutdown: d.shutdown, ring: d.ring.state() }];
  }

  /** Takes up a domain as a daemon before this one had it; one that is gone is left out. */
  adopt(domid: number, was: DomainState): void {
    const memory = this.#hypercalls.foreign?.(asDomid(domid)), local = this.#hypercalls.evtchnBindInterdomain(asDomid(domid), evtchnPort(was.port));
    if (typeof memory !== 'object' || local < 0) { this.#daemon.log(`xenstore: d${domid} is gone or has closed its port (error ${local})`); return; }
    const page = memory.bytes.subarray(was.frame * PAGE_BYTES, (was.frame + 1) * PAGE_BYTES);
    const domain = this.#newDomain(domid, local as EvtchnPort, page), { connection, ring } = domain;
    this.#domains.set(domid, domain);
    Object.assign(domain, { port: was.port, shutdown: was.shutdown });
    connection.actor.target = was.target;
    for (const w of was.watches) this.#daemon.watches.add(connection, w);
    for (const id of was.transactions) connection.adoptTransaction(id, new Transaction(this.#daemon.tree, true));
    ring.resume({ ...was.ring, unsent: Buffer.concat(was.ring.queued) });
    this.#hypercalls.onEvent(local as EvtchnPort, () => domain.ring.onEvent());
  }

  /** VIRQ_DOM_EXC: announces domains that have shut down, releases those that are gone. */
  check(): void {
    for (const [domid, domain] of [...this.#domains]) {
      const info = this.#hypercalls.domainInfo(asDomid(domid));
      if (typeof info === 'number' || info.dying) { this.release(domid); continue; }
      if ((info.shutdown || info.crashed) && !domain.shutdown) {
        domain.shutdown = true;
        this.#daemon.journal?.shutdown(domid, true);
        this.#daemon.announceReleased(domid);
      }
    }
  }

  /** Stops serving without telling anyone: the host ends. */
  close(): void {
    for (const domain of this.#domains.values()) { domain.ring.close(); this.#hypercalls.evtchnClose(domain.channel.port); }
    this.#domains.clear();
  }

  #newDomain(domid: number, port: EvtchnPort, page: Uint8Array<SharedArrayBuffer> | undefined): Introduced {
    let mapping: GrantMapping | undefined;
    if (!page) {
      const mapped = this.#hypercalls.gnttabMap(asDomid(domid), grantRef(GNTTAB_RESERVED_XENSTORE), false);
      if (typeof mapped === 'number') {
        this.#hypercalls.evtchnClose(port);
        refuse('EINVAL', `d${domid}: its xenstore page cannot be mapped (error ${mapped})`);
      }
      mapping = mapped;
      page = mapped.bytes;
    }
    const connection = new Connection({ domid }, `d${domid}`), channel: Channel = { port };
    return { connection, page, mapping, channel, port: 0, shutdown: false, ring: this.#newRing(connection, channel, page) };
  }

  #replaceRing(domain: Introduced, domid: number, page: Uint8Array<SharedArrayBuffer>): void {
    domain.ring.close();
    domain.page = page;
    domain.ring = this.#newRing(domain.connection, domain.channel, page);
    this.#daemon.log(`xenstore: d${domid} has a new ring`);
  }

  #newRing(connection: Connection, channel: Channel, page: Uint8Array<SharedArrayBuffer>): RingTransport {
    return new RingTransport({
      page, connection, log: this.#daemon.log,
      handle: message => handleMessage(this.#daemon, connection, message),
      reset: () => this.#daemon.reset(connection),
      notify: () => { this.#hypercalls.evtchnSend(channel.port); },
      maxOutstanding: () => this.#daemon.quota.outstanding,
      ...(this.#daemon.journal ? { noted: notesOf(this.#daemon.journal, connection.actor.domid) } : {}),
    });
  }
}

const PAGE_BYTES = 4096;
const frameOf = (page: Uint8Array): number => page.byteOffset / PAGE_BYTES;

const notesOf = (journal: StoreJournal, domid: number): RingNotes => ({
  restarted: () => journal.restarted(domid),
  received: (part, requestBytes) => journal.received(domid, part, requestBytes),
  handled: requestBytes => journal.handled(domid, requestBytes),
  queued: bytes => journal.queued(domid, bytes),
  flush: () => journal.flush(),
});
