// One connection of a virtual interface: the rings a frontend granted, their event channels, and the way between them
// and the switch. Made when the frontend connects, ended when either side closes.
// Invariant: #undo holds the end of everything made so far, so that close() after any failure leaves nothing.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import { netif_rx_request, netif_tx_request, xen_netif_ctrl_request } from '../../hypervisor/public/io/netif.ts';
import { evtchnPort, grantRef, type Domid, type EvtchnPort } from '../../hypervisor/public/types.ts';
import { FrontendError, mapRing, type FrontendDetails } from '../bus/frontend.ts';
import { BackRing } from '../bus/ring.ts';
import type { Frame, PortAbilities } from '../switch/port.ts';
import { ControlRing } from './control.ts';
import type { Credit } from './credit.ts';
import { Steering } from './hash.ts';
import type { NetbackMetrics } from './metrics.ts';
import type { MulticastFilter } from './multicast.ts';
import { RxQueue } from './rx.ts';
import { TxQueue } from './tx.ts';

export const MAX_QUEUES = 4;

export interface LinkOptions {
  readonly dom: Domid;
  readonly hypercalls: Pick<Dom0Hypercalls, 'gnttabMap' | 'gnttabUnmap' | 'gnttabCopyFrom' | 'gnttabCopyTo' | 'evtchnBindInterdomain' | 'evtchnClose' | 'evtchnSend' | 'onEvent'>;
  readonly metrics: NetbackMetrics;
  readonly credit: Credit | undefined;
  readonly multicast: MulticastFilter;
  send(frame: Frame): void;
  roomGrew(): void;
  complain(what: string): void;
  /** The frontend broke the protocol: the link is to be closed. */
  broken(what: string): void;
}

export class Link {
  readonly abilities: PortAbilities;
  readonly #o: LinkOptions;
  readonly #rx: RxQueue[] = [];
  readonly #undo: (() => void)[] = [];
  readonly #steering: Steering;

  /** @throws FrontendError, RingError; then nothing is left */
  constructor(options: LinkOptions, front: FrontendDetails) {
    this.#o = options;
    const count = front.number('multi-queue-num-queues', { fallback: 1, min: 1, max: MAX_QUEUES });
    if (!front.flag('request-rx-copy')) throw new FrontendError('the frontend does not ask for rx-copy, and page flipping is not supported');
    this.abilities = {
      blankChecksum: !front.flag('feature-no-csum-offload'), blankChecksumV6: front.flag('feature-ipv6-csum-offload'),
      gsoV4: front.flag('feature-gso-tcpv4') && front.flag('feature-sg'), gsoV6: front.flag('feature-gso-tcpv6') && front.flag('feature-sg'),
    };
    this.#steering = new Steering(count);
    try {
      for (let i = 0; i < count; i++) this.#openQueue(front, count === 1 ? '' : `queue-${i}/`);
      if (front.has('ctrl-ring-ref')) this.#openControl(front);
    } catch (error) { this.close(); throw error; }
  }

  get room(): number { return Math.min(...this.#rx.map(queue => queue.room)); }

  deliver(frame: Frame): void {
    const hash = this.#steering.hash(frame.bytes);
    this.#rx[this.#steering.queueOf(frame.bytes, hash)]!.deliver(frame, hash);
  }

  close(): void { for (const end of this.#undo.splice(0).reverse()) end(); }

  #openQueue(front: FrontendDetails, prefix: string): void {
    const { dom, hypercalls, metrics, credit, multicast, complain, broken, roomGrew, send } = this.#o;
    const txRing = this.#ring(front, `${prefix}tx-ring-ref`, netif_tx_request.bytes), rxRing = this.#ring(front, `${prefix}rx-ring-ref`, netif_rx_request.bytes);
    const split = front.has(`${prefix}event-channel-tx`);
    let kickTx = (): void => {}, kickRx = (): void => {};
    const txPort = this.#bind(front, `${prefix}${split ? 'event-channel-tx' : 'event-channel'}`, () => { kickTx(); if (!split) kickRx(); });
    const rxPort = split ? this.#bind(front, `${prefix}event-channel-rx`, () => kickRx()) : txPort;
    const tx = new TxQueue({
      ring: txRing, dom, hypercalls, metrics, credit, complain, broken, send,
      notify: () => { hypercalls.evtchnSend(txPort); }, multicast: change => multicast.change(change),
    });
    const rx = new RxQueue({
      ring: rxRing, dom, hypercalls, metrics, complain, broken, roomGrew, scatterGather: front.flag('feature-sg'),
      notify: () => { hypercalls.evtchnSend(rxPort); },
    });
    kickTx = () => tx.kick();
    kickRx = () => rx.kick();
    this.#rx.push(rx);
    this.#undo.push(() => { tx.stop(); rx.stop(); });
    // Requests may have been waiting since before the event channel was bound, and responses of a backend before this one.
    queueMicrotask(() => { tx.kick(); rx.kick(); for (const port of new Set([txPort, rxPort])) hypercalls.evtchnSend(port); });
  }

  #openControl(front: FrontendDetails): void {
    const { dom, hypercalls, broken } = this.#o, ring = this.#ring(front, 'ctrl-ring-ref', xen_netif_ctrl_request.bytes);
    let kick = (): void => {};
    const port = this.#bind(front, 'event-channel-ctrl', () => kick());
    const control = new ControlRing({ ring, dom, hypercalls, steering: this.#steering, broken, notify: () => { hypercalls.evtchnSend(port); } });
    kick = () => control.kick();
    this.#undo.push(() => control.stop());
    queueMicrotask(kick);
  }

  #ring(front: FrontendDetails, key: string, entryBytes: number): BackRing {
    const { dom, hypercalls } = this.#o, pages = mapRing(hypercalls, dom, [grantRef(front.number(key))]);
    this.#undo.push(() => { for (const page of pages) hypercalls.gnttabUnmap(page); });
    return new BackRing(pages.map(page => page.bytes), entryBytes);
  }

  #bind(front: FrontendDetails, key: string, handler: () => void): EvtchnPort {
    const { dom, hypercalls } = this.#o, remote = front.number(key), bound = hypercalls.evtchnBindInterdomain(dom, evtchnPort(remote));
    if (bound < 0) throw new FrontendError(`event channel ${remote} cannot be bound (error ${bound})`);
    const port = bound as EvtchnPort;
    this.#undo.push(() => { hypercalls.evtchnClose(port); });
    hypercalls.onEvent(port, handler);
    return port;
  }
}
