// ICMP echo to addresses beyond the gateway. An ordinary Node process has no ICMP socket, the system's `ping` has: it is
// asked once per request. Where there is no ping, or it gets no answer, nobody answers.
// Invariant: at most MAX_RUNNING at a time, of one guest MAX_PER_GUEST.
import { spawn, type ChildProcess } from 'node:child_process';
import { isIPv6 } from 'node:net';

export const MAX_RUNNING = 8, MAX_PER_GUEST = 4;
const WAIT_SECONDS = 2;
const MAX_PAYLOAD_BYTES = 1472;

export class Echo {
  /** With the guest each runs for. */
  readonly #running = new Map<ChildProcess, string>();
  get runningCount(): number { return this.#running.size; }

  /** Calls back if the host answers within WAIT_SECONDS. @param host an address, never a name @param guest whoever shares its limit with itself */
  ask(host: string, payloadBytes: number, guest: string, answered: () => void): void {
    let mine = 0;
    for (const other of this.#running.values()) if (other === guest) mine++;
    if (this.#running.size >= MAX_RUNNING || mine >= MAX_PER_GUEST) return;
    const child = spawn('ping', ['-n', '-q', '-c', '1', '-W', String(WAIT_SECONDS), '-s', String(Math.min(payloadBytes, MAX_PAYLOAD_BYTES)), ...isIPv6(host) ? ['-6'] : [], host], { stdio: 'ignore' });
    this.#running.set(child, guest);
    child.on('error', () => this.#running.delete(child));
    child.on('exit', code => { if (this.#running.delete(child) && code === 0) answered(); });
  }

  close(): void { for (const child of this.#running.keys()) child.kill(); this.#running.clear(); }
}
