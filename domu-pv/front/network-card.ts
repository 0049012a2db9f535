// The domain's network card: an interface by its place in xenstore, whoever is behind it at the time. A backend that closes
// is let go of, one that comes (network-attach) is connected to; who uses the card is told of the link.
//
//   frontend   1 Initialising --> 4 Connected (rings) ----------------> 6 Closed -----------> nodes gone, or new ones: 1
//   backend    2 InitWait ---------------------------> 4 Connected ... 5 Closing --> 6 Closed
//
// Nothing here waits: it is looked at whenever one of the two directories changes, when nothing is half done.
import {
  XenbusStateClosed, XenbusStateClosing, XenbusStateConnected, XenbusStateInitialising, XenbusStateInitWait, XenbusStateUnknown,
} from '../../hypervisor/public/io/xenbus.ts';
import type { Frame } from '../../net/packet/frame.ts';
import { OutOfFrames } from '../kernel/heap.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { StoreError } from '../kernel/xenstore.ts';
import type { Device } from '../net/interface.ts';
import { Netfront } from './netfront.ts';

/** How long the first backend may take. */
const CONNECT_NS = 10_000_000_000n;

export class NetworkCard implements Device {
  readonly #kernel: Kernel; readonly #path: string;
  #backend = '';
  #unwatch: (() => void) | undefined;
  #front: Netfront | undefined;
  #isUp = false;
  mac: Uint8Array = new Uint8Array(6);
  onReceive: () => void = () => {};
  onRoom: () => void = () => {};
  onLink: (isUp: boolean) => void = () => {};

  /** @param path the frontend's directory: device/vif/0. Returns connected, or after a while without */
  constructor(kernel: Kernel, path: string) {
    this.#kernel = kernel;
    this.#path = path;
    kernel.store.watch(path, () => this.#look());
    kernel.events.waitFor(() => this.#isUp, kernel.clock.systemNs() + CONNECT_NS);
  }
  get room(): number { return this.#isUp ? this.#front!.room : 0; }
  send(frame: Frame): void { if (this.#isUp) this.#front!.send(frame); }
  take(handle: (frame: Frame) => void): void { this.#front?.take(handle); }

  #state(directory: string): number { return Number(this.#kernel.store.tryRead(`${directory}/state`) ?? XenbusStateUnknown); }
  #look(): void {
    const { store } = this.#kernel, backend = store.tryRead(`${this.#path}/backend`) ?? this.#backend;
    if (backend !== this.#backend) {
      this.#unwatch?.();
      this.#backend = backend;
      this.#unwatch = store.watch(`${backend}/state`, () => this.#look());
    }
    // Nobody has begun with these nodes: where we had, they are another interface's, and its backend with them.
    const isNew = this.#state(this.#path) === XenbusStateInitialising, state = this.#state(backend);
    if (!this.#front) { if (state === XenbusStateInitWait && isNew) this.#connect(); return; }
    if (!isNew) {
      if (state === XenbusStateConnected) this.#link(true);
      if (state !== XenbusStateClosing && state !== XenbusStateClosed && state !== XenbusStateUnknown) return;
      this.#sayClosed();
    }
    this.#link(false);
    // One that is closing has our frames until it has heard that we have closed.
    if (state === XenbusStateClosing && !isNew) return;
    this.#front.release();
    this.#front = undefined;
    // It may have come back meanwhile.
    this.#kernel.events.later(() => this.#look());
  }
  #connect(): void {
    try {
      const front = this.#front = new Netfront(this.#kernel, this.#path, false);
      this.mac = front.mac;
      front.onReceive = () => this.onReceive();
      front.onRoom = () => this.onRoom();
    } catch (error) {
      // Its nodes went meanwhile, or the domain is too small: the card stays without.
      if (!(error instanceof StoreError || error instanceof OutOfFrames)) throw error;
      this.#kernel.log(`${this.#path}: ${error.message}`);
    }
  }
  #link(isUp: boolean): void {
    if (isUp === this.#isUp) return;
    this.#isUp = isUp;
    this.onLink(isUp);
    if (isUp) this.onRoom();
  }
  #sayClosed(): void {
    try { if (this.#state(this.#path) === XenbusStateConnected) this.#kernel.store.write(`${this.#path}/state`, XenbusStateClosed); } catch (error) {
      // Its nodes are gone.
      if (!(error instanceof StoreError)) throw error;
    }
  }
}
