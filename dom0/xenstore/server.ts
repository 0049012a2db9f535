// xenstored of Dom0, put together: the store, rings of domains, the Unix socket, and Dom0's own client.
import type { Handover } from '../../hypervisor/public/handover.ts';
import type { XenStore } from './client.ts';
import { Daemon } from './daemon.ts';
import { Domains, type DomainsHypercalls } from './domains.ts';
import { LocalClient } from './local-client.ts';
import type { Quota } from './quota.ts';
import { replay, StoreJournal } from './records.ts';
import { handleMessage } from './requests.ts';
import { SocketTransport, xenstoreSocketPath } from './socket-transport.ts';

export interface XenstoreOptions {
  readonly hypercalls: DomainsHypercalls;
  /** One line for the log, without a line end. */
  readonly log?: (line: string) => void;
  readonly quota?: Partial<Quota>;
  /** Where the state is kept for a server that takes over after a crash; what is in there already is taken over. */
  readonly handover?: Handover;
}

export class XenstoreServer {
  readonly #daemon: Daemon;
  readonly #domains: Domains;
  readonly #client: LocalClient;
  #socket: SocketTransport | undefined;

  constructor({ hypercalls, log, quota, handover }: XenstoreOptions) {
    this.#daemon = new Daemon(log);
    Object.assign(this.#daemon.quota, quota);
    this.#domains = new Domains(this.#daemon, hypercalls);
    this.#daemon.domains = this.#domains;
    this.#client = new LocalClient(this.#daemon);
    if (handover) this.#takeOver(handover);
  }

  #takeOver(handover: Handover): void {
    const journal = new StoreJournal(handover, this.#daemon, () => this.#domains.live()), domains = replay(journal.read(), this.#daemon);
    this.#daemon.journal = journal;
    for (const [domid, state] of domains) this.#domains.adopt(domid, state);
    journal.begin();
  }

  /** Dom0's own window on the store. */
  client(): XenStore { return this.#client; }

  /**
   * XS_INTRODUCE: serves the domain's ring from now on.
   * @param pageBytes the ring page, 4096 bytes @param port the guest's unbound event channel
   * @throws XsError if the port cannot be bound
   */
  introduce(domid: number, pageBytes: Uint8Array<SharedArrayBuffer>, port: number): void { this.#domains.introduce(domid, port, pageBytes); }
  /** XS_RELEASE: the domain is gone; so are the nodes that it owns. No error if it is not known. */
  release(domid: number): void { this.#domains.release(domid); }
  /** XS_RESUME: a domain that has shut down runs again. */
  resume(domid: number): void { this.#domains.resume(domid); }
  isIntroduced(domid: number): boolean { return this.#domains.isIntroduced(domid); }
  /** To be called at VIRQ_DOM_EXC (Dom0Hypercalls.onDomainEvent): fires @releaseDomain for domains that have ended. */
  checkDomains(): void { this.#domains.check(); }

  /** @returns the socket's path, `<runFolder>/socket`: tools find it with XENSTORED_RUNDIR. @throws Error */
  async listen(runFolder: string): Promise<string> {
    const path = xenstoreSocketPath(runFolder);
    this.#socket = await SocketTransport.listen(path, {
      open: () => {},
      handle: (connection, message) => handleMessage(this.#daemon, connection, message),
      closed: connection => this.#daemon.reset(connection),
      log: this.#daemon.log,
    });
    return path;
  }

  async close(): Promise<void> {
    this.#domains.close();
    await this.#socket?.close();
  }
}
