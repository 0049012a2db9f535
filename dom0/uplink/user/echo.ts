// ICMP echo to addresses beyond the gateway. An ordinary Node process has no ICMP socket, the system's `ping` has: it is
// asked once per request. Where there is no ping, or it gets no answer, nobody answers.
// Invariant: at most MAX_RUNNING at a time.
import { spawn, type ChildProcess } from 'node:child_process';
import { isIPv6 } from 'node:net';

export const MAX_RUNNING = 8;
const WAIT_SECONDS = 2;
const MAX_PAYLOAD_BYTES = 1472;

export class Echo {
  readonly #running = new Set<ChildProcess>();
  get runningCount(): number { return this.#running.size; }

  /** Calls back if the host answers within WAIT_SECONDS. @param host an address, never a name */
  ask(host: string, payloadBytes: number, answered: () => void): void {
    if (this.#running.size >= MAX_RUNNING) return;
    const child = spawn('ping', ['-n', '-q', '-c', '1', '-W', String(WAIT_SECONDS), '-s', String(Math.min(payloadBytes, MAX_PAYLOAD_BYTES)), ...isIPv6(host) ? ['-6'] : [], host], { stdio: 'ignore' });
    this.#running.add(child);
    child.on('error', () => this.#running.delete(child));
    child.on('exit', code => { if (this.#running.delete(child) && code === 0) answered(); });
  }

  close(): void { for (const child of this.#running) child.kill(); this.#running.clear(); }
}
