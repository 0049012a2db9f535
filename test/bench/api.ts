// The host's API under load: 500 subscribers of events that only listen and 200 requests a second, while two guests write
// to their disks and send to the network. Guests' throughput with and without that load, in one run, in turns.
//
//   npm run bench:api [-- seconds of each phase]
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { Agent, request as httpRequest, type ClientRequest } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { diskOf, GuestShell, TestHost } from '../guests/guest-shell.ts';

const SUBSCRIBERS = 500, REQUESTS_PER_SEC = 200, TICK_MS = 5, LIMIT_MS = 30_000, DISK_BYTES = 64 * 2 ** 20, SECTOR_BYTES = 512, MIB = 2 ** 20;
const phaseSec = Number(process.argv[2] ?? 25), GUESTS = ['one', 'two'];
const sleep = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms); });

const dir = mkdtempSync(join(tmpdir(), 'xenolith-bench-api-')), { kernelPath: kernel, ramdiskPath: ramdisk } = await prepareDemo({ cacheDir: defaultCacheDir() });
let netBytes = 0, idle = -1;
const sink = createServer(socket => { socket.on('data', (data: Buffer) => { netBytes += data.length; }).on('error', () => {}); });
await new Promise<void>(resolve => { sink.listen(0, '127.0.0.1', resolve); });
const host = await TestHost.start(join(dir, 'run')), { client } = host, { socketPath } = client, agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** @returns status; the answer is read whole */
function call(method: string, path: string, body?: object): Promise<number> {
  const payload = body && JSON.stringify(body);
  return new Promise((resolve, reject) => {
    httpRequest({ socketPath, agent, method, path, timeout: LIMIT_MS, headers: payload ? { 'content-type': 'application/json', 'content-length': payload.length } : {} }, response => {
      response.on('error', reject).on('end', () => resolve(response.statusCode!)).resume();
    }).on('error', reject).on('timeout', function (this: ClientRequest) { this.destroy(new Error('no answer')); }).end(payload);
  });
}
/** What clients do: mostly looking, some changing; one in twenty makes an event. */
const CALLS: readonly ((n: number) => Promise<number>)[] = [
  () => call('GET', '/v1/domains'), () => call('GET', '/v1/domains/one'), () => call('GET', '/healthz'), () => call('GET', '/v1/domains/two/disks'), () => call('GET', '/v1/xenstore?path=/local/domain/0'),
  () => call('GET', '/metrics'), () => call('GET', '/v1/host'), n => call('PATCH', '/v1/domains/one/scheduler', { weight: 250 + n % 10 }), n => call('PUT', '/v1/xenstore?path=/tool/bench', { value: String(n) }),
  () => call('GET', '/v1/domains?state=running&limit=1'), () => call('GET', '/v1/domains/two'), () => call('GET', '/healthz'), () => call('GET', '/v1/domains/one/vifs'), () => call('GET', '/v1/files'),
  () => call('GET', '/v1/operations?limit=5'), () => call('GET', '/v1/host/scheduler'), () => call('GET', '/v1/domains/one/config'), () => call('GET', '/v1/xenstore?path=/tool'), () => call('GET', '/v1/host/dmesg'),
  n => call('POST', `/v1/domains/${idle}/actions`, { action: 'rename', name: `idle-${n}` }),
];

interface Load { readonly latenciesMs: number[]; readonly errors: Map<string, number>; events: number; stop(): Promise<void> }
async function load(): Promise<Load> {
  const latenciesMs: number[] = [], errors = new Map<string, number>(), open: ClientRequest[] = [], running = new Set<Promise<void>>();
  const failed = (what: string): void => { if (!stopped) errors.set(what, (errors.get(what) ?? 0) + 1); };
  let stopped = false, events = 0, sent = 0;
  await Promise.all(Array.from({ length: SUBSCRIBERS }, () => new Promise<void>((resolve, reject) => {
    open.push(httpRequest({ socketPath, path: '/v1/events', agent: false }, response => {
      resolve();
      response.setEncoding('utf8').on('data', (text: string) => { events += text.split('\nevent: ').length - 1; }).on('error', () => failed('subscriber cut off')).on('end', () => failed('subscriber ended'));
    }).on('error', reject));
    open.at(-1)!.end();
  })));
  const start = performance.now();
  // Open loop: a call that is late is late from the moment it was due.
  const ticking = setInterval(() => {
    for (const due = (performance.now() - start) * REQUESTS_PER_SEC / 1000; sent < due; sent++) {
      const dueMs = start + sent * 1000 / REQUESTS_PER_SEC, n = sent;
      const one = CALLS[n % CALLS.length]!(Math.floor(n / CALLS.length)).then(status => { latenciesMs.push(performance.now() - dueMs); if (status >= 400) failed(`${n % CALLS.length}: status ${status}`); }, (error: Error) => failed(error.message)).finally(() => { running.delete(one); });
      running.add(one);
    }
  }, TICK_MS);
  return { latenciesMs, errors, get events() { return events; }, stop: async () => { clearInterval(ticking); await Promise.all(running); stopped = true; for (const each of open) each.destroy(); } };
}

interface Throughput { readonly diskMibPerSec: number; readonly netMibPerSec: number }
async function measured(): Promise<Throughput> {
  const written = async (): Promise<number> => (await client.domains()).flatMap(d => d.disks).reduce((sum, disk) => sum + (disk.counters['wr_sect'] ?? 0), 0) * SECTOR_BYTES;
  const start = performance.now(), disk = await written(), net = netBytes;
  await sleep(phaseSec * 1000);
  const diskEnd = await written(), sec = (performance.now() - start) / 1000;
  return { diskMibPerSec: (diskEnd - disk) / sec / MIB, netMibPerSec: (netBytes - net) / sec / MIB };
}

try {
  const { port } = sink.address() as AddressInfo;
  for (const name of GUESTS) {
    const image = join(dir, `${name}.img`);
    writeFileSync(image, '');
    truncateSync(image, DISK_BYTES);
    const guest = await GuestShell.boot(client, name, { kernel, ramdisk }, [{ bridge: 'xenbr0', trusted: true }], { disks: [diskOf(image)] });
    await guest.run('ip link set eth0 up && udhcpc -n -q -i eth0 -s /etc/xenolith/udhcpc >/dev/null');
    await guest.run('(while :; do dd if=/dev/zero of=/dev/xvda bs=1M count=32 conv=fsync 2>/dev/null; done) &');
    await guest.run(`(while :; do dd if=/dev/zero bs=64k count=512 2>/dev/null | nc 10.0.2.2 ${port}; done) &`);
  }
  // One that never runs, to be renamed: each is an event for every subscriber.
  const config = { ...await client.config('one'), name: 'idle', uuid: '00000000-0000-4000-8000-000000000001', disks: [], vifs: [] };
  idle = (await client.create(config, true)).domid;
  await sleep(3000);
  const without = [await measured()], began = await load(), cpu = process.cpuUsage(), withLoad = await measured(), used = process.cpuUsage(cpu);
  await began.stop();
  await sleep(1000);
  without.push(await measured());
  const sorted = began.latenciesMs.toSorted((a, b) => a - b), at = (share: number): string => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN).toFixed(1);
  const mean = (key: keyof Throughput): number => without.reduce((sum, each) => sum + each[key], 0) / without.length;
  const line = (what: string, { diskMibPerSec: d, netMibPerSec: n }: Throughput): string => `${what}  disks ${d.toFixed(1)} MiB/s  network ${n.toFixed(1)} MiB/s`;
  process.stdout.write(`${[
    `${SUBSCRIBERS} subscribers, ${(sorted.length / phaseSec).toFixed(0)} requests/s of ${REQUESTS_PER_SEC}: ${sorted.length} answers, ${began.events} events delivered`,
    `errors: ${began.errors.size === 0 ? 'none' : [...began.errors].map(([what, n]) => `${n} x ${what}`).join(', ')}`,
    `latency ms from when a call was due: p50 ${at(0.5)}  p95 ${at(0.95)}  p99 ${at(0.99)}  most ${at(1)}`,
    line('without, before:', without[0]!), line('with:            ', withLoad), line('without, after: ', without[1]!),
    `with / without: disks ${(withLoad.diskMibPerSec / mean('diskMibPerSec')).toFixed(2)}  network ${(withLoad.netMibPerSec / mean('netMibPerSec')).toFixed(2)}; the load's own process used ${((used.user + used.system) / 1e4 / phaseSec).toFixed(0)} % of a processor`,
  ].join('\n')}\n`);
  process.exitCode = began.errors.size === 0 ? 0 : 1;
} finally {
  await host.stop();
  sink.close();
  agent.destroy();
  rmSync(dir, { recursive: true, force: true });
}
process.exit();
