// A control domain for tests of the threads: makes domains that run one small program each, plays the scenario it is
// told, and posts what it saw.
import { parentPort, workerData } from 'node:worker_threads';
import type { Domid, EvtchnPort, Mfn } from '../public/types.ts';
import { domid as asDomid } from '../public/types.ts';
import { attachDom0 } from './dom0.ts';
import { threadNames } from './thread-priority.ts';
import { BASE, DATA, ECHO, FIRST_OF_TWO, PAGE_OF, SECOND_OF_TWO, SPIN, TIMER, TIMER_ROUNDS, UNDEFINED } from './test-programs.ts';

const PAGE = 4096, FRAMES = 16, PRESENT_RW = 0x67, PRESENT_RO = 0x65;
const MS = 1e6;
const hypercalls = attachDom0(workerData);
// Waiting for events alone does not keep a thread's event loop going.
setInterval(() => {}, 60_000);

interface Guest { readonly domid: Domid; readonly port: EvtchnPort; readonly mfns: Mfn[]; readonly data: DataView }
const sleep = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms); });

/** A domain whose vCPU 0 will run `program`, with an event channel to Dom0. Paused. */
function makeGuest(program: Uint8Array, vcpus = 1): Guest {
  const domid = hypercalls.domainCreate({ uuid: '00000000-0000-0000-0000-000000000001', vcpus, maxMemKib: FRAMES * 4 }) as Domid;
  const mfns = hypercalls.populate(domid, FRAMES) as Mfn[], foreign = hypercalls.foreign(domid), info = hypercalls.domainInfo(domid);
  if (typeof foreign === 'number' || typeof info === 'number') throw new Error(`no domain: ${domid}`);
  const view = new DataView(foreign.bytes.buffer), at = (n: number): number => mfns[n]! % 2 ** 20 * PAGE;
  const entry = (table: number, n: number, frame: number, flags: number): void => view.setBigUint64(at(table) + n * 8, (BigInt(frame) << 12n) + BigInt(flags), true);
  entry(PAGE_OF.l4, 511, mfns[PAGE_OF.l3]!, PRESENT_RW);
  entry(PAGE_OF.l3, 510, mfns[PAGE_OF.l2]!, PRESENT_RW);
  entry(PAGE_OF.l2, 0, mfns[PAGE_OF.l1]!, PRESENT_RW);
  for (let n = 0; n < FRAMES; n++) entry(PAGE_OF.l1, n, n === PAGE_OF.sharedInfo ? info.sharedInfoMfn : mfns[n]!, n <= PAGE_OF.l1 ? PRESENT_RO : PRESENT_RW);
  foreign.bytes.set(program, at(PAGE_OF.code));
  const data = new DataView(foreign.bytes.buffer, at(PAGE_OF.data), PAGE), va = (offset: number): bigint => BASE + BigInt(PAGE_OF.data * PAGE + offset);
  const theirs = hypercalls.evtchnAllocUnbound(domid, asDomid(0)) as EvtchnPort;
  const port = hypercalls.evtchnBindInterdomain(domid, theirs) as EvtchnPort;
  data.setUint32(DATA.port, theirs, true);
  for (const [poll, watched] of [[DATA.poll, DATA.port], [DATA.pollOwn, DATA.own]] as const) { data.setBigUint64(poll, va(watched), true); data.setUint32(poll + 8, 1, true); }
  if (vcpus > 1) {
    data.setUint32(DATA.bind, 1, true);
    foreign.bytes.set(SECOND_OF_TWO, at(PAGE_OF.code) + PAGE / 2);
    const image = (offset: number, value: bigint): void => {
      // The image lies on two pages that need not follow each other in memory.
      view.setBigUint64(at(PAGE_OF.context + (offset >> 12)) + offset % PAGE, value, true);
    };
    const inKernel = 4n, registers = 520;
    image(512, inKernel);
    image(registers + 13 * 8, va(0));
    image(registers + 128, BASE + BigInt(PAGE_OF.code * PAGE + PAGE / 2));
    image(registers + 136, 0xe033n);
    image(registers + 144, 0x202n);
    image(registers + 160, 0xe02bn);
    image(4984 + 3 * 8, BigInt(mfns[PAGE_OF.l4]!) << 12n);
  }
  const error = hypercalls.setContext(domid, { rip: BASE + BigInt(PAGE_OF.code * PAGE), rsp: BASE + BigInt(FRAMES * PAGE), rsi: va(0), cr3Mfn: mfns[PAGE_OF.l4]! });
  if (error) throw new Error(`the guest's tables do not validate: ${error}`);
  return { domid, port, mfns, data };
}
function run(program: Uint8Array, vcpus = 1): Guest {
  const g = makeGuest(program, vcpus);
  hypercalls.domainUnpause(g.domid);
  return g;
}
/** Sends an event and waits for the answer, `rounds` times; microseconds of each. */
async function roundTrips(port: EvtchnPort, rounds: number): Promise<number[]> {
  let answer = (): void => {};
  hypercalls.onEvent(port, () => answer());
  // The call that follows onEvent, and the event of binding, answer nothing.
  await sleep(20);
  const took: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    const answered = new Promise<void>(resolve => { answer = resolve; });
    hypercalls.evtchnSend(port);
    await answered;
    took.push((performance.now() - start) * 1000);
  }
  answer = () => {};
  return took;
}
async function until(what: () => boolean, ms = 20_000): Promise<void> {
  const end = performance.now() + ms;
  while (!what()) { if (performance.now() > end) throw new Error('waited in vain'); await sleep(5); }
}
const info = (g: Guest) => { const i = hypercalls.domainInfo(g.domid); if (typeof i === 'number') throw new Error(`domain ${g.domid}: ${i}`); return i; };
const counter = (g: Guest): number => Number(g.data.getBigUint64(DATA.counter, true));

const SCENARIOS: Record<string, () => Promise<unknown>> = {
  async echo() {
    const g = run(ECHO), took = await roundTrips(g.port, 500);
    await until(() => info(g).blocked);
    const { cpuTimeNs } = info(g);
    return { answered: counter(g), blockedTimeNs: Number(cpuTimeNs), medianUs: took.sort((x, y) => x - y)[250]! };
  },
  async timer() {
    const g = run(TIMER), last = DATA.lateness + 8 * (TIMER_ROUNDS - 1);
    let events = 0;
    hypercalls.onEvent(g.port, () => { events++; });
    await until(() => g.data.getBigInt64(last, true) !== 0n && events > 0);
    return { latenessNs: Array.from({ length: TIMER_ROUNDS }, (_, n) => Number(g.data.getBigInt64(DATA.lateness + 8 * n, true))) };
  },
  async smp() {
    const g = run(FIRST_OF_TWO, 2);
    await until(() => g.data.getUint32(DATA.flag, true) === 1);
    const results = [0, 1, 2, 3].map(n => Number(g.data.getBigInt64(DATA.results + 8 * n, true)));
    await roundTrips(g.port, 100);
    return { results, answered: counter(g), online: info(g).vcpusOnline };
  },
  /** A domain, and a second one when there is a spare thread for it. */
  async spare() {
    const first = run(ECHO);
    await until(() => threadNames().includes('spare'));
    const second = run(ECHO);
    await roundTrips(first.port, 10);
    await roundTrips(second.port, 10);
    const names = threadNames(), answered = [counter(first), counter(second)];
    return { names, answered, gone: [await hypercalls.domainDestroy(second.domid), await hypercalls.domainDestroy(first.domid)] };
  },
  /** One pCPU: two that never stop, and one that answers. */
  async shares() {
    const hogs = [run(SPIN), run(SPIN)], g = run(ECHO), took: number[] = [];
    await roundTrips(g.port, 1);
    // On a busy host a thread may take its time to come up.
    await until(() => hogs.every(h => info(h).cpuTimeNs > 0n));
    const before = hogs.map(h => info(h).cpuTimeNs);
    for (const end = performance.now() + 1000; performance.now() < end;) took.push(...await roundTrips(g.port, 1));
    return { hogMs: hogs.map((h, i) => Number(info(h).cpuTimeNs - before[i]!) / MS), worstMs: Math.max(...took) / 1000, rounds: took.length };
  },
  async lifecycle() {
    const hog = run(SPIN), g = run(ECHO);
    await until(() => info(hog).running);
    hypercalls.domainPause(hog.domid);
    const paused = info(hog);
    // A busy host may be slow to let the vCPU's thread see it.
    await sleep(100);
    const before = info(hog).cpuTimeNs;
    await sleep(50);
    const stood = info(hog).cpuTimeNs === before;
    hypercalls.domainUnpause(hog.domid);
    await until(() => info(hog).cpuTimeNs > before);
    const start = performance.now(), gone = await hypercalls.domainDestroy(hog.domid);
    const destroyMs = performance.now() - start, after = hypercalls.domainInfo(hog.domid);
    // A bad instruction without a handler is its domain's end alone.
    const bad = run(UNDEFINED);
    await until(() => info(bad).crashed);
    await roundTrips(g.port, 5);
    return { paused: paused.paused, stood, gone, destroyMs, after, answered: counter(g), console: hypercalls.readConsole(false) };
  },
  /** One pCPU: a thread that holds it is ended from outside. */
  async killed() {
    const hog = run(SPIN);
    await until(() => info(hog).running);
    const g = run(ECHO), { slot } = info(hog);
    parentPort!.postMessage({ xenolith: 'end', slot, domid: hog.domid, force: true });
    await until(() => info(hog).crashed);
    await roundTrips(g.port, 5);
    return { answered: counter(g), gone: await hypercalls.domainDestroy(hog.domid), console: hypercalls.readConsole(false) };
  },
  async trace() {
    const g = makeGuest(ECHO);
    hypercalls.debugKey('T');
    hypercalls.domainUnpause(g.domid);
    await until(() => info(g).blocked);
    await roundTrips(g.port, 3);
    await until(() => info(g).blocked);
    hypercalls.debugKey('T');
    hypercalls.debugKey('p');
    hypercalls.debugKey('d');
    await until(() => hypercalls.readConsole(false).includes('RIP:'));
    return { console: hypercalls.readConsole(false) };
  },
  /** The first Dom0 dies with a guest running; the second goes on with it. */
  async restart() {
    const found = hypercalls.domainList().filter(d => d.domid !== 0);
    if (found.length === 0) {
      const g = run(ECHO);
      await roundTrips(g.port, 10);
      process.exit(3);
    }
    const { domid } = found[0]!, foreign = hypercalls.foreign(domid);
    if (typeof foreign === 'number') throw new Error('its memory has not come back');
    // The guest's port is its first.
    const port = hypercalls.evtchnBindInterdomain(domid, 1 as EvtchnPort) as EvtchnPort;
    const took = await roundTrips(port, 10);
    const gone = await hypercalls.domainDestroy(domid);
    return { rounds: took.length, gone, left: hypercalls.domainList().length };
  },
};
const { scenario } = hypercalls.options as { scenario: string };
parentPort!.postMessage(await SCENARIOS[scenario]!().then(result => ({ result }), error => ({ error: String(error), console: hypercalls.readConsole(false) })));
