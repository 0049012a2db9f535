// The network as a program has it: an interface, its address, and the protocols on it. IPv4 alone.
import { NetworkCard } from '../front/network-card.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { seekAddress } from './dhcp.ts';
import { type Echo, EchoService } from './echo.ts';
import { Interface, type Device, type Lease } from './interface.ts';
import { lookUp } from './resolver.ts';
import { SocketError } from './socket-error.ts';
import { TcpTable } from './tcp.ts';
import { UdpTable } from './udp.ts';

const DRAIN_NS = 5_000_000_000n;

export class Stack {
  readonly tcp: TcpTable; readonly udp: UdpTable;
  readonly #interface: Interface; readonly #echo: EchoService;
  #isFixed = false;
  #isSeeking = false;

  constructor(kernel: Kernel, device: Device) {
    this.#interface = new Interface(kernel, device);
    this.#echo = new EchoService(this.#interface);
    this.udp = new UdpTable(this.#interface);
    this.tcp = new TcpTable(this.#interface);
    device.onLink = isUp => this.#linkChanged(isUp);
  }
  get lease(): Lease | undefined { return this.#interface.lease; }
  get mtu(): number { return this.#interface.mtu; }
  /** Takes an address, or asks the network for one; undefined where nobody answers. Waits. */
  configure(fixed?: Lease): Lease | undefined {
    if (fixed) { this.#interface.lease = fixed; this.#isFixed = true; }
    if (!this.lease) {
      this.#seek(() => {});
      this.#interface.kernel.events.waitFor(() => !this.#isSeeking);
    }
    return this.lease;
  }
  #seek(found: () => void): void {
    if (this.#isSeeking) return;
    const end = (lease: Lease | undefined): void => {
      this.#isSeeking = false;
      this.#interface.lease = lease;
      found();
    };
    this.#isSeeking = true;
    try { seekAddress(this.#interface, this.udp, end); } catch (error) {
      // The program has taken the port.
      if (!(error instanceof SocketError)) throw error;
      end(undefined);
    }
  }
  /** Without a wire connections wait, as long as TCP does; at another one an address that was lent may be another's. */
  #linkChanged(isUp: boolean): void {
    const before = this.lease;
    this.#interface.forgetNeighbours();
    if (!isUp || this.#isFixed || !before) return;
    this.#interface.lease = undefined;
    this.#seek(() => { if (this.lease?.address !== before.address) this.tcp.resetAll(); });
  }
  ping(target: number, sequence: number, byteCount: number, timeoutMs: number): Echo | undefined { return this.#echo.ping(target, sequence, byteCount, timeoutMs); }
  /** Addresses of a name, by DNS. Waits. @throws SocketError */
  lookUp(name: string): number[] { return lookUp(this.#interface, this.udp, name); }
  /** Before the domain ends: sends what was given to be sent. Where others are not served meanwhile it cannot be. */
  drain(): void {
    const { events, clock } = this.#interface.kernel;
    if (events.isBusy) return;
    this.tcp.endAll();
    events.waitFor(() => !this.tcp.isSending, clock.systemNs() + DRAIN_NS);
  }
}

/** The domain's first interface, connected; undefined where it has none. */
export function openStack(kernel: Kernel): Stack | undefined {
  const vif = kernel.store.list('device/vif')[0];
  return vif === undefined ? undefined : new Stack(kernel, new NetworkCard(kernel, `device/vif/${vif}`));
}
