// Figures of domains whose kernel is a WebAssembly module, each beside what the same run does without a domain:
//   compute    programs/compute.c in a domain and directly in Node, by turns; best of each
//   start      from `create` to the first byte on the console
//   ring       block requests of 4 KiB (at scattered places, and one behind the other) and 1 MiB, beside plain reads of the same
//              places into as many buffers: one thread's, one after the other, and so many at once through the thread pool.
//              The pool's vary severalfold with where the scheduler puts its threads
//   packets    packets of 1,500 bytes from one domain to another, and into the backend alone, beside copies in memory
//   idle       memory of domains that wait, and how many (IDLE_DOMAINS, 64 by default)
// node test/bench/programs.ts [compute|start|ring|packets|idle ...]
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, read, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeRunFolder, runFolder } from '../../dom0/api/run-folder.ts';
import type { Dom0Options } from '../../dom0/options.ts';
import { parseDomainConfig } from '../../dom0/toolstack/config/domain-config.ts';
import { appModule } from '../../domu-pv/apps/app-module.ts';
import { startHypervisor } from '../../hypervisor/boot/main.ts';
import { adjustCollector } from '../../tools/host/collector.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { Client } from '../../tools/xl/client.ts';
import { compile, hasToolchain } from '../programs/toolchain.ts';

process.env['UV_THREADPOOL_SIZE'] ??= '16';
process.env['NODE_COMPILE_CACHE'] ??= join(defaultCacheDir(), 'compiled');
adjustCollector();
const ROUNDS = Number(process.env['ROUNDS'] ?? 5), IDLE = Number(process.env['IDLE_DOMAINS'] ?? 64), FILE_BYTES = 256 << 20, PACKET_BYTES = 1500, PACKETS = Number(process.env['PACKETS'] ?? 300_000);
const dir = mkdtempSync(join(tmpdir(), 'bench-')), folder = runFolder({ XENOLITH_RUNDIR: join(dir, 'run') });
await makeRunFolder(folder);
let ready: () => void;
const isReady = new Promise<void>(resolve => { ready = resolve; });
const hypervisor = await startHypervisor({
  dom0Module: new URL('../../dom0/index.ts', import.meta.url), dom0Data: { runDir: folder.dir, stateDir: join(folder.dir, 'state'), hostLife: 'bench', roots: [], hostPid: process.pid, bridges: [{ name: 'inner', uplink: 'none' }] } satisfies Dom0Options,
  programModule: new URL('../../domu-pv/index.ts', import.meta.url), onDom0Message: m => { if ((m as { kind: string }).kind === 'ready') ready(); }, onDom0Exit: () => {},
});
await isReady;
const pause = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms); });
const client = new Client(folder.socket), median = (list: number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1]!;

/** As `xl create`: the domain runs when the call returns; its console is read from the first byte on. */
async function firstByte(kernel: string, extra: string): Promise<number> {
  const { config } = parseDomainConfig(`name="start"\nkernel="${kernel}"\nextra="${extra}"\nmemory=16\n`, 'start', { pcpus: 2 }), begin = performance.now();
  const { domid } = await client.create(config, false), stream = await client.console(String(domid));
  await new Promise(resolve => { stream.once('data', resolve); });
  const ms = performance.now() - begin;
  await client.destroy(String(domid));
  await pause(1500);
  return ms;
}
interface Run { readonly domid: number; readonly firstByteMs: number; readonly output: () => string; readonly ended: Promise<unknown> }
/** Makes a domain and follows its console. */
async function run(name: string, kernel: string, extra: string, more = 'memory=32'): Promise<Run> {
  const { config } = parseDomainConfig(`name="${name}"\nkernel="${kernel}"\nextra="${extra}"\n${more}\n`, name, { pcpus: 2 }), start = performance.now();
  const domain = await client.create(config, true), stream = await client.console(String(domain.domid)), ended = client.waitEnd(String(domain.domid));
  let output = '', firstByteMs = -1;
  const closed = new Promise(resolve => { stream.on('close', resolve); });
  const spoke = new Promise<void>(resolve => { stream.on('data', data => { if (firstByteMs < 0) firstByteMs = performance.now() - start; output += String(data); resolve(); }); });
  await client.act(String(domain.domid), 'unpause');
  await Promise.race([spoke, closed]);
  return { domid: domain.domid, firstByteMs, output: () => output, ended: Promise.all([ended, closed]) };
}
const app = (name: string): string => { const path = join(dir, `${name}.wasm`); writeFileSync(path, appModule(name)); return path; };

async function compute(): Promise<void> {
  const module = compile(dir, 'compute'), direct = join(dir, 'direct.mjs'), best: Record<'direct' | 'domain', Map<string, number>> = { direct: new Map(), domain: new Map() };
  writeFileSync(direct, `import { WASI } from 'node:wasi'; import { readFileSync } from 'node:fs';
const wasi = new WASI({ version: 'preview1', args: ['program'] }); wasi.start(new WebAssembly.Instance(new WebAssembly.Module(readFileSync(process.argv[2])), wasi.getImportObject()));`);
  const take = (kind: 'direct' | 'domain', text: string): void => { for (const [, name, us] of text.matchAll(/^(\w+) \d+ (\d+)\r?$/gm)) best[kind].set(name!, Math.min(best[kind].get(name!) ?? Infinity, Number(us))); };
  for (let round = 0; round < ROUNDS; round++) {
    take('direct', spawnSync(process.execPath, ['--no-warnings', direct, module], { encoding: 'utf8' }).stdout);
    const domain = await run('compute', module, '');
    await domain.ended;
    take('domain', domain.output());
  }
  const ratios = [...best.direct].map(([name, us]) => { const ratio = us / best.domain.get(name)!; process.stdout.write(`compute ${name}: directly ${us} us, in a domain ${best.domain.get(name)} us: ${ratio.toFixed(2)}\n`); return ratio; });
  process.stdout.write(`compute, geometric mean: ${Math.exp(ratios.reduce((sum, r) => sum + Math.log(r), 0) / ratios.length).toFixed(2)}\n`);
}
async function start(): Promise<void> {
  const probe = compile(dir, 'probe'), shell = app('shell');
  for (const [name, kernel, extra] of [['C program', probe, 'wait'], ['shell', shell, '']] as const) {
    const ms: number[] = [];
    for (let n = 0; n < 11; n++) ms.push(await firstByte(kernel, extra));
    const [first, ...more] = ms;
    process.stdout.write(`start, ${name}: ${median(more).toFixed(0)} ms from create to the first byte, median of ten (best ${Math.min(...more).toFixed(0)}, worst ${Math.max(...more).toFixed(0)}); the first of all ${first!.toFixed(0)}\n`);
  }
}
/** As apps/load.ts has it. */
const STRIDES = { scattered: 7919, sequential: 1 } as const;
type Order = keyof typeof STRIDES;
interface Reads { readonly bytes: number; readonly count: number; readonly depth: number; readonly order: Order }
const placeOf = (n: number, { bytes, order }: Reads): number => n * STRIDES[order] % Math.floor(FILE_BYTES / bytes) * bytes;
/** Plain reads of the file at the places that the domain asks for, one after the other. */
function plainInTurn(path: string, reads: Reads): number {
  const { bytes, count, depth } = reads, fd = openSync(path, 'r'), buffers = Array.from({ length: depth }, () => new Uint8Array(new SharedArrayBuffer(bytes))), begin = performance.now();
  for (let n = 0; n < count; n++) readSync(fd, buffers[n % depth]!, 0, bytes, placeOf(n, reads));
  closeSync(fd);
  return count / (performance.now() - begin) * 1000;
}
/** The same, so many at once. */
async function plainAtOnce(path: string, reads: Reads): Promise<number> {
  const { bytes, count, depth } = reads, fd = openSync(path, 'r'), begin = performance.now();
  let next = 0;
  const one = (buffer: Uint8Array): Promise<void> => new Promise((resolve, reject) => {
    const again = (): void => { if (next >= count) { resolve(); return; } read(fd, buffer, 0, bytes, placeOf(next++, reads), error => { if (error) reject(error); else again(); }); };
    again();
  });
  await Promise.all(Array.from({ length: depth }, () => one(new Uint8Array(new SharedArrayBuffer(bytes)))));
  closeSync(fd);
  return count / (performance.now() - begin) * 1000;
}
async function ring(): Promise<void> {
  const image = join(dir, 'ring.img'), kernel = app('load');
  writeFileSync(image, Buffer.alloc(FILE_BYTES, 7));
  const kinds: readonly Reads[] = [{ bytes: 4096, count: 400_000, depth: 32, order: 'scattered' }, { bytes: 4096, count: 400_000, depth: 32, order: 'sequential' }, { bytes: 1 << 20, count: 8000, depth: 4, order: 'scattered' }];
  for (const reads of kinds) {
    const { bytes, count, depth, order } = reads, domains: number[] = [], inTurn: number[] = [], atOnce: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      inTurn.push(plainInTurn(image, reads));
      atOnce.push(await plainAtOnce(image, reads));
      const domain = await run('ring', kernel, `read ${bytes} ${count} ${depth} ${order}`, `memory=128\ndisk=["${image},raw,xvda,ro"]`);
      await domain.ended;
      domains.push(Number(/: (\d+) requests/.exec(domain.output())?.[1]));
    }
    const a = Math.max(...domains), told = (list: number[]): string => { const b = Math.max(...list); return `${b.toFixed(0)}/s (worst ${Math.min(...list).toFixed(0)}) ${(b * bytes / 1e6).toFixed(0)} MB/s: ${(a / b).toFixed(2)}`; };
    process.stdout.write(`ring, ${order} reads of ${bytes}: ${a.toFixed(0)}/s ${(a * bytes / 1e6).toFixed(0)} MB/s; plain, in turn ${told(inTurn)}; ${depth} at once ${told(atOnce)}\n`);
  }
}
/** Packets a second, each copied so many times: what the memory would do. */
function copies(count: number, times: number): number {
  const buffers = Array.from({ length: 128 }, () => Array.from({ length: times }, () => new Uint8Array(new SharedArrayBuffer(4096), 0, PACKET_BYTES))), frame = new Uint8Array(PACKET_BYTES), begin = performance.now();
  for (let n = 0; n < count; n++) { let from: Uint8Array = frame; for (const to of buffers[n % buffers.length]!) { to.set(from); from = to; } }
  return count / (performance.now() - begin) * 1000;
}
async function packets(): Promise<void> {
  const kernel = app('load'), told = (what: string, a: number, b: number): void => { process.stdout.write(`packets of ${PACKET_BYTES}, ${what}: ${a.toFixed(0)}/s ${(a * PACKET_BYTES / 1e6).toFixed(0)} MB/s; copied as often ${b.toFixed(0)}/s: ${(a / b).toFixed(3)}\n`); };
  const send = (to: string): Promise<Run> => run('sender', kernel, `send ${PACKET_BYTES} ${PACKETS} ${to}`, 'memory=32\nvif=["bridge=inner,mac=00:16:3e:00:00:01"]');
  // Into the backend, where nobody else is on the bridge: the frame is copied into a granted buffer, and from there.
  const alone: number[] = [], twice: number[] = [], sent: number[] = [], received: number[] = [], thrice: number[] = [], to = '00:16:3e:00:00:02';
  let lost = 0;
  for (let round = 0; round < ROUNDS; round++) {
    twice.push(copies(PACKETS, 2));
    thrice.push(copies(PACKETS, 3));
    const single = await send(to);
    await single.ended;
    alone.push(Number(/: (\d+) packets/.exec(single.output())?.[1]));
    const receiver = await run('receiver', kernel, `receive ${PACKET_BYTES} ${PACKETS}`, `memory=32\nvif=["bridge=inner,mac=${to}"]`), sender = await send(to);
    await Promise.all([sender.ended, receiver.ended]);
    sent.push(Number(/: (\d+) packets/.exec(sender.output())?.[1]));
    received.push(Number(/: (\d+) packets/.exec(receiver.output())?.[1]));
    lost += PACKETS - Number(/received (\d+)/.exec(receiver.output())?.[1]);
  }
  told('frontend to backend', Math.max(...alone), Math.max(...twice));
  told('from one domain to another', Math.max(...received), Math.max(...thrice));
  process.stdout.write(`packets: ${(100 * lost / ROUNDS / PACKETS).toFixed(1)}% lost on the way to the other domain\n`);
}
/** How long a shell takes to answer a line, in ms, many times over. */
async function answers(stream: Duplex): Promise<number[]> {
  const ms: number[] = [];
  let said = '';
  const look = (data: Buffer): void => { said += String(data); };
  stream.on('data', look);
  // A line that comes before the first prompt is echoed before it, and its answer stands behind the prompt.
  stream.write('\r');
  while (!said.includes('\r\n# ')) await new Promise(resolve => { stream.once('data', resolve); });
  // The answer to the empty line may be the second prompt.
  await pause(500);
  for (let n = 0; n < 100; n++) {
    const begin = performance.now();
    said = '';
    stream.write(`echo ${n}\r`);
    while (!said.includes(`\n${n}\r\n# `)) await new Promise(resolve => { stream.once('data', resolve); });
    ms.push(performance.now() - begin);
    await pause(10);
  }
  stream.off('data', look);
  return ms.sort((a, b) => a - b);
}
async function idle(): Promise<void> {
  const kernel = compile(dir, 'probe'), rss = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024, first: number[] = [], domids: number[] = [];
  const shell = await run('neighbour', app('shell'), '', 'memory=16'), stream = await client.console(String(shell.domid)), told = (ms: number[]): string => `median ${ms[ms.length >> 1]!.toFixed(1)} ms, 95th of 100 ${ms[95 * ms.length / 100 | 0]!.toFixed(1)} ms`;
  const alone = await answers(stream), before = rss(), begin = performance.now();
  for (let n = 0; n < IDLE; n++) {
    try { const domain = await run(`idle${n}`, kernel, 'wait', 'memory=8'); first.push(domain.firstByteMs); domids.push(domain.domid); } catch (error) { process.stdout.write(`idle: the ${n + 1}th was refused: ${(error as Error).message}\n`); break; }
  }
  const madeSec = (performance.now() - begin) / 1000;
  await pause(5000);
  const used = process.cpuUsage();
  await pause(5000);
  const { user, system } = process.cpuUsage(used), among = await answers(stream);
  process.stdout.write(`idle: ${domids.length} domains in ${madeSec.toFixed(0)} s, ${((rss() - before) / domids.length).toFixed(1)} MiB each; all of them use ${((user + system) / 50_000).toFixed(1)}% of a processor; the last ones' first byte after ${median(first.slice(-10)).toFixed(0)} ms, the first ones' ${median(first.slice(0, 10)).toFixed(0)} ms\n`);
  process.stdout.write(`idle: a shell answers a line alone: ${told(alone)}; among them: ${told(among)}\n`);
  const end = performance.now();
  for (const domid of domids) await client.destroy(String(domid));
  const destroyedSec = (performance.now() - end) / 1000;
  await pause(5000 + 20 * domids.length);
  process.stdout.write(`idle: destroyed in ${destroyedSec.toFixed(0)} s, some seconds later ${rss() - before > 0 ? '+' : ''}${(rss() - before).toFixed(0)} MiB\n`);
  await client.destroy(String(shell.domid));
}

const all: Record<string, () => Promise<void>> = { compute, start, ring, packets, idle }, wanted = process.argv.slice(2);
if (!hasToolchain(dir)) process.exit(1);
for (const [name, work] of Object.entries(all)) if (wanted.length === 0 || wanted.includes(name)) await work();
await hypervisor.stop();
rmSync(dir, { recursive: true, force: true });
