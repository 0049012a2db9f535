// The clients of test/bench/api.ts, as one process that costs little: connections that are kept, answers that are only
// counted. Calls are due at fixed times: one that is late is late from the moment it was due.
//   api-client.ts SOCKET SUBSCRIBERS REQUESTS_PER_SEC SECONDS DOMAIN,DOMAIN
// Says "ready" when all subscribers are there, then what it measured, as JSON.
import { connect, type Socket } from 'node:net';

const [socketPath, subscribers, perSec, seconds, domains] = [process.argv[2]!, ...process.argv.slice(3, 6).map(Number), process.argv[6]!.split(',')] as [string, number, number, number, string[]];
const TICK_MS = 5, SETTLE_MS = 1500, LIMIT_MS = 30_000, MAX_CONNECTIONS = 64;

export interface ApiLoad {
  readonly answers: number; readonly events: number; readonly errors: Readonly<Record<string, number>>; readonly connections: number; readonly cpuMs: number;
  /** From when a call was due to the end of its answer: all calls, and by call. */
  readonly latenciesMs: readonly number[]; readonly slowest: readonly (readonly [call: string, p99Ms: number])[];
}

/** What clients do: nine of ten look, one of a hundred makes an event for every subscriber. Taken in turn. */
const [one, two] = domains as [string, string];
const LOOKS = [
  '/v1/domains', `/v1/domains/${one}`, `/v1/domains/${two}`, '/healthz', `/v1/domains/${one}/disks`, `/v1/domains/${two}/vifs`, '/v1/host', '/v1/domains?state=running&limit=1', '/v1/xenstore?path=/local/domain/0', '/v1/host/scheduler',
  `/v1/domains/${one}/config`, '/v1/operations?limit=5', '/v1/definitions', '/v1/host/dmesg', '/v1/files', '/metrics', '/v1/audit?limit=5', '/v1/tokens',
];
type Call = readonly [method: string, path: string, body?: object];
function callOf(n: number): Call {
  if (n % 100 === 50) return ['PATCH', `/v1/domains/${one}/scheduler`, { weight: 200 + Math.floor(n / 100) % 100 }];
  if (n % 100 === 0) return ['POST', `/v1/domains/${two}/actions`, { action: 'unpause' }];
  if (n % 12 === 5) return ['PUT', '/v1/xenstore?path=/tool/bench', { value: String(n) }];
  return ['GET', LOOKS[n % LOOKS.length]!];
}

const errors: Record<string, number> = {};
let events = 0, stopped = false;
const failed = (what: string): void => { if (!stopped) errors[what] = (errors[what] ?? 0) + 1; };

/** A connection that is used for one call after the other. */
class Connection {
  readonly #socket: Socket;
  #text = '';
  #wanted = -1;
  #done: ((status: number) => void) | undefined;
  constructor() {
    this.#socket = connect(socketPath).setEncoding('latin1').on('data', (text: string) => this.#take(text)).on('error', () => this.#done?.(-1)).on('close', () => this.#done?.(-1));
  }
  send(text: string, done: (status: number) => void): void { this.#done = done; this.#socket.write(text); }
  close(): void { this.#socket.destroy(); }
  #take(text: string): void {
    this.#text += text;
    if (this.#wanted < 0) {
      const head = this.#text.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = /\r\ncontent-length: (\d+)/i.exec(this.#text.slice(0, head));
      this.#wanted = head + 4 + Number(length?.[1] ?? 0);
    }
    if (this.#text.length < this.#wanted) return;
    const status = Number(this.#text.slice(9, 12)), done = this.#done!;
    this.#text = '';
    this.#wanted = -1;
    this.#done = undefined;
    done(status);
  }
}

const subscribed = await Promise.all(Array.from({ length: subscribers }, () => new Promise<Socket>((resolve, reject) => {
  let begun = false;
  const socket = connect(socketPath, () => socket.write('GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n')).setEncoding('latin1');
  socket.on('data', (text: string) => {
    if (!begun) { begun = true; if (text.startsWith('HTTP/1.1 200 ')) resolve(socket); else reject(new Error(text)); }
    for (let at = text.indexOf('\nevent: '); at >= 0; at = text.indexOf('\nevent: ', at + 1)) events++;
  }).on('error', () => failed('subscriber cut off')).on('close', () => failed('subscriber closed'));
})));
await new Promise(resolve => { setTimeout(resolve, SETTLE_MS); });
process.stdout.write('ready\n');

const idle: Connection[] = [], all: Connection[] = [], waiting: [Call, number][] = [], latencies: [string, number][] = [];
let running = 0, sent = 0;
function begin(call: Call, dueMs: number): void {
  const connection = idle.pop() ?? (all.length < MAX_CONNECTIONS ? new Connection() : undefined), [method, path, body] = call;
  if (!connection) { waiting.push([call, dueMs]); return; }
  if (!all.includes(connection)) all.push(connection);
  const payload = body === undefined ? '' : JSON.stringify(body), name = `${method} ${path}`;
  running++;
  connection.send(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${body === undefined ? '' : `Content-Type: application/json\r\nContent-Length: ${payload.length}\r\n`}\r\n${payload}`, status => {
    running--;
    latencies.push([name, performance.now() - dueMs]);
    if (status < 200 || status >= 400) failed(`${name}: ${status}`); else idle.push(connection);
    const next = waiting.shift();
    if (next) begin(...next);
  });
}
const cpu = process.cpuUsage(), start = performance.now(), before = events;
const ticking = setInterval(() => { for (const due = Math.min((performance.now() - start) / 1000, seconds) * perSec; sent < due; sent++) begin(callOf(sent), start + sent * 1000 / perSec); }, TICK_MS);
await new Promise(resolve => { setTimeout(resolve, seconds * 1000); });
clearInterval(ticking);
const { user, system } = process.cpuUsage(cpu), seen = events - before;
for (const end = performance.now() + LIMIT_MS; running > 0 && performance.now() < end;) await new Promise(resolve => { setTimeout(resolve, TICK_MS); });
if (running > 0) failed(`${running} calls without an answer`);
stopped = true;

const p99 = (of: number[]): number => of.toSorted((a, b) => a - b)[Math.floor(of.length * 0.99)]!;
const byCall = Map.groupBy(latencies, ([name]) => name);
const slowest = [...byCall].map(([name, of]) => [name, p99(of.map(([, ms]) => ms))] as const).sort(([, a], [, b]) => b - a).slice(0, 3);
process.stdout.write(`${JSON.stringify({ answers: latencies.length, events: seen, errors, connections: all.length, cpuMs: (user + system) / 1000, latenciesMs: latencies.map(([, ms]) => Math.round(ms * 100) / 100), slowest } satisfies ApiLoad)}\n`, () => process.exit());
for (const each of [...subscribed, ...all]) if (each instanceof Connection) each.close(); else each.destroy();
