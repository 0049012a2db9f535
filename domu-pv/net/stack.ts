// The network as a program has it: an interface, its address, and the protocols on it. IPv4 alone.
import { Netfront } from '../front/netfront.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { askForAddress } from './dhcp.ts';
import { type Echo, EchoService } from './echo.ts';
import { Interface, type Device, type Lease } from './interface.ts';
import { lookUp } from './resolver.ts';
import { TcpTable } from './tcp.ts';
import { UdpTable } from './udp.ts';

const DRAIN_NS = 5_000_000_000n;

export class Stack {
  readonly tcp: TcpTable; readonly udp: UdpTable;
  readonly #interface: Interface; readonly #echo: EchoService;

  constructor(kernel: Kernel, device: Device) {
    this.#interface = new Interface(kernel, device);
    this.#echo = new EchoService(this.#interface);
    this.udp = new UdpTable(this.#interface);
    this.tcp = new TcpTable(this.#interface);
  }
  get lease(): Lease | undefined { return this.#interface.lease; }
  get mtu(): number { return this.#interface.mtu; }
  /** Takes an address, or asks the network for one; undefined where nobody answers. Waits. */
  configure(fixed?: Lease): Lease | undefined { return this.#interface.lease = fixed ?? this.#interface.lease ?? askForAddress(this.#interface, this.udp); }
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
  return vif === undefined ? undefined : new Stack(kernel, new Netfront(kernel, `device/vif/${vif}`));
}
