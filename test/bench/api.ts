// What the HTTP API costs the guests: one of them writes to a disk, the other one sends to the network, while 500 clients listen
// for events and others make 200 calls a second (api-client.ts), in alternation with the same without any client. The
// clients are on the machine whose processors the guests use up: in their place stands a process then that takes as much
// processor time and does nothing, so that what is compared is what the host spends. With `nothing` as the last argument
// nobody stands there, and the clients' own time counts too; with `both` both guests do both: then a guest's own scheduler
// decides, which takes what is missing from the disk's writer alone.
//   node bin/run-node26.mjs test/bench/api.ts [seconds of each measurement] [rounds] [subscribers] [calls per second] [nothing|both ...]
// Disk images lie in memory (/dev/shm) where there is such: the disk of the machine is not what is measured.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { diskOf, GuestShell, TestHost } from '../guests/guest-shell.ts';
import type { ApiLoad } from './api-client.ts';

const [seconds, rounds, subscribers, perSec] = [8, 8, 500, 200].map((usual, i) => Number(process.argv[i + 2] ?? usual)) as [number, number, number, number];
const more = new Set(process.argv.slice(6)), standIn = !more.has('nothing'), both = more.has('both');
const DISK_BYTES = 64 * 2 ** 20, SECTOR_BYTES = 512, MIB = 2 ** 20, GUESTS = ['one', 'two'], CLOCK_TICKS_PER_SEC = 100, SETTLE_MS = 2000;
const sleep = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms); });
const say = (text: string): void => { process.stdout.write(`${text}\n`); };

const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'xenolith-bench-api-'));
const demo = await prepareDemo({ cacheDir: defaultCacheDir() });
let netBytes = 0;
const sink = createServer(socket => { socket.on('data', (data: Buffer) => { netBytes += data.length; }).on('error', () => {}); });
await new Promise<void>(resolve => { sink.listen(0, '127.0.0.1', resolve); });
const host = await TestHost.start(join(dir, 'run')), { client } = host;

/** Processor time of each thread of the host so far, in milliseconds, by number and name. */
function threads(pid: number): Map<string, number> {
  return new Map(readdirSync(`/proc/${pid}/task`).map(task => {
    const text = readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8'), fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return [`${task} ${text.slice(text.indexOf('(') + 1, text.lastIndexOf(')'))}`, (Number(fields[11]) + Number(fields[12])) * 1000 / CLOCK_TICKS_PER_SEC];
  }));
}

interface Phase { readonly disk: number; readonly net: number; /** Per cent of one processor. */ readonly threads: ReadonlyMap<string, number> }
async function measured(pid: number, wait: Promise<unknown>): Promise<Phase> {
  const written = async (): Promise<number> => (await client.domains()).flatMap(d => d.disks).reduce((sum, disk) => sum + (disk.counters['wr_sect'] ?? 0), 0) * SECTOR_BYTES;
  const start = performance.now(), disk = await written(), net = netBytes, used = threads(pid);
  await wait;
  const diskEnd = await written(), ms = performance.now() - start, usedEnd = threads(pid);
  const shares = [...usedEnd].map(([name, at]) => [name, (at - (used.get(name) ?? 0)) / ms * 100] as const).filter(([, share]) => share >= 1);
  return { disk: (diskEnd - disk) / ms * 1000 / MIB, net: (netBytes - net) / ms * 1000 / MIB, threads: new Map(shares.sort(([, a], [, b]) => b - a)) };
}

async function withLoad(pid: number): Promise<{ readonly phase: Phase; readonly load: ApiLoad }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'api-client.ts'), client.socketPath, ...[subscribers, perSec, seconds].map(String), GUESTS.join()], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  if ((await lines.next()).value !== 'ready') throw new Error('the clients do not start');
  const phase = await measured(pid, sleep(seconds * 1000)), load = JSON.parse((await lines.next()).value as string) as ApiLoad;
  return { phase, load };
}

/** Nobody calls. @param share of one processor, for who stands in the clients' place */
async function without(pid: number, share: number): Promise<Phase> {
  const busy = `const from = performance.now(), used = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000; };
    setInterval(() => { while (used() < ${share} * (performance.now() - from)); }, 5)`;
  const child = share > 0 ? spawn(process.execPath, ['-e', busy], { stdio: 'ignore' }) : undefined;
  try { await sleep(SETTLE_MS); return await measured(pid, sleep(seconds * 1000)); } finally { child?.kill(); }
}

const at = (sorted: readonly number[], share: number): string => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN).toFixed(1);
const mean = (list: readonly number[]): number => list.reduce((sum, each) => sum + each, 0) / list.length;
const median = (list: readonly number[]): number => { const sorted = list.toSorted((x, y) => x - y), half = (sorted.length - 1) / 2; return (sorted[Math.floor(half)]! + sorted[Math.ceil(half)]!) / 2; };
const told = ({ disk, net, threads: of }: Phase): string => `disks ${disk.toFixed(1)} MiB/s, network ${net.toFixed(1)} MiB/s; threads ${[...of].map(([name, share]) => `${name.split(' ').slice(1).join(' ')} ${share.toFixed(0)} %`).join(', ')}`;

try {
  const { port } = sink.address() as AddressInfo, { pid } = await client.host();
  const guests = await Promise.all(GUESTS.map(name => {
    const image = join(dir, `${name}.img`);
    writeFileSync(image, '');
    truncateSync(image, DISK_BYTES);
    return GuestShell.boot(client, name, { kernel: demo.kernelPath, ramdisk: demo.ramdiskPath }, [{ bridge: 'xenbr0', trusted: true }], { disks: [diskOf(image)] });
  }));
  for (const [n, guest] of guests.entries()) {
    await guest.run('ip link set eth0 up && udhcpc -n -q -i eth0 -s /etc/xenolith/udhcpc >/dev/null');
    if (both || n === 0) await guest.run('(while :; do dd if=/dev/zero of=/dev/xvda bs=1M count=32 conv=fsync 2>/dev/null; done) &');
    if (both || n === 1) await guest.run(`(while :; do dd if=/dev/zero bs=64k count=512 2>/dev/null | nc 10.0.2.2 ${port}; done) &`);
  }
  say('both guests work');
  const idle: Phase[] = [], loaded: Phase[] = [], loads: ApiLoad[] = [];
  let share = standIn ? (await withLoad(pid)).load.cpuMs / seconds / 1000 : 0;
  for (let round = 0; round < rounds; round++) {
    idle.push(await without(pid, share));
    say(`without  ${told(idle.at(-1)!)}`);
    await sleep(SETTLE_MS);
    const { phase, load } = await withLoad(pid);
    loaded.push(phase);
    loads.push(load);
    if (standIn) share = load.cpuMs / seconds / 1000;
    say(`with     ${told(phase)}; clients ${(load.cpuMs / seconds / 10).toFixed(0)} %`);
  }
  const latencies = loads.flatMap(load => load.latenciesMs).sort((a, b) => a - b), errors = loads.flatMap(load => Object.entries(load.errors));
  // Of each round by itself: what else the machine does changes more slowly than that.
  const ratio = (key: 'disk' | 'net'): number => median(loaded.map((phase, round) => phase[key] / idle[round]![key]));
  say(`${subscribers} subscribers, ${(latencies.length / rounds / seconds).toFixed(0)} calls/s of ${perSec}; ${latencies.length} answers, ${loads.reduce((sum, load) => sum + load.events, 0)} events delivered, ${Math.max(...loads.map(load => load.connections))} connections for calls`);
  say(`errors: ${errors.length === 0 ? 'none' : errors.map(([what, n]) => `${n} x ${what}`).join(', ')}`);
  say(`milliseconds from when a call was due: p50 ${at(latencies, 0.5)}, p95 ${at(latencies, 0.95)}, p99 ${at(latencies, 0.99)}, most ${at(latencies, 1)}; p99 of the slowest: ${loads.at(-1)!.slowest.map(([name, ms]) => `${name} ${ms.toFixed(1)}`).join(', ')}`);
  say(`with / without${standIn ? ', clients\' processor time taken from both' : ''}, median of the rounds: disks ${mean(loaded.map(p => p.disk)).toFixed(1)} / ${mean(idle.map(p => p.disk)).toFixed(1)} MiB/s on average, ratio ${ratio('disk').toFixed(3)}, network ${mean(loaded.map(p => p.net)).toFixed(1)} / ${mean(idle.map(p => p.net)).toFixed(1)} MiB/s on average, ratio ${ratio('net').toFixed(3)}`);
  process.exitCode = errors.length === 0 ? 0 : 1;
} finally {
  await host.stop();
  sink.close();
  rmSync(dir, { recursive: true, force: true });
}
process.exit();
