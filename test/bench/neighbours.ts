// How much longer a guest's work takes beside a guest that spins, in four ways. The spinning one is paused and goes on in
// alternation; each time beside it is laid beside the mean of the times alone before and after. The median of these
// ratios, and how the host's threads were used meanwhile.
//   node bin/run-node26.mjs test/bench/neighbours.ts [rounds] [part of a storm's name]
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { diskOf, GuestShell, TestHost } from '../guests/guest-shell.ts';
import { startOf, STOP, STORMS, work, WORK_DONE } from '../guests/storms.ts';

const rounds = Number(process.argv[2] ?? 10), only = process.argv[3] ?? '', DISK_BYTES = 16 * 2 ** 20, PART = 0.25;
/** Threads that used less than this are left out of the table. */
const SHOWN_SHARE = 0.01;
const median = (list: number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1]!;

/** Nanoseconds that a thread ran, and that it waited for a processor. */
interface Use { readonly name: string; readonly ran: number; readonly waited: number }
interface Uses { spanNs: number; readonly threads: Map<string, Use> }
const newUses = (): Uses => ({ spanNs: 0, threads: new Map() });
function threadsOf(pid: number): Map<string, Use> {
  const all = new Map<string, Use>();
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    try {
      const [ran, waited] = readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'latin1').split(' ').map(Number);
      all.set(tid, { name: readFileSync(`/proc/${pid}/task/${tid}/comm`, 'latin1').trim(), ran: ran!, waited: waited! });
    } catch { /* it has ended */ }
  }
  return all;
}

const dir = mkdtempSync(join(tmpdir(), 'xenolith-neighbours-')), host = await TestHost.start(join(dir, 'run'));
try {
  const demo = await prepareDemo({ cacheDir: defaultCacheDir() }), files = { kernel: demo.kernelPath, ramdisk: demo.ramdiskPath };
  const boot = (name: string): Promise<GuestShell> => {
    const image = join(dir, `${name}.img`);
    writeFileSync(image, `${name}\n`);
    truncateSync(image, DISK_BYTES);
    return GuestShell.boot(host.client, name, files, [], { disks: [diskOf(image)] });
  };
  const quiet = await boot('quiet'), hostile = await boot('hostile'), { pid } = await host.client.host();
  const timed = async (): Promise<number> => {
    const begin = performance.now(), output = await quiet.run(work(PART));
    if (!WORK_DONE.test(output)) throw new Error(`the work went wrong: ${output}`);
    return (performance.now() - begin) / 1000;
  };
  const measured = async (uses: Uses): Promise<number> => {
    const before = threadsOf(pid), sec = await timed(), after = threadsOf(pid);
    uses.spanNs += sec * 1e9;
    for (const [tid, { name, ran, waited }] of after) {
      const was = before.get(tid), sum = uses.threads.get(tid);
      uses.threads.set(tid, { name, ran: (sum?.ran ?? 0) + ran - (was?.ran ?? 0), waited: (sum?.waited ?? 0) + waited - (was?.waited ?? 0) });
    }
    return sec;
  };
  await timed();
  for (const [name, storm] of Object.entries(STORMS)) {
    if (!name.includes(only)) continue;
    const alone: number[] = [], beside: number[] = [], aloneUse = newUses(), besideUse = newUses();
    await hostile.run(startOf(storm));
    const ref = String(hostile.domid), single = async (): Promise<void> => {
      await host.client.act(ref, 'pause');
      alone.push(await measured(aloneUse));
      await host.client.act(ref, 'unpause');
    };
    await single();
    for (let n = 0; n < rounds; n++) {
      beside.push(await measured(besideUse));
      await single();
    }
    await hostile.run(STOP);
    const ratios = beside.map((sec, n) => sec / ((alone[n]! + alone[n + 1]!) / 2));
    const list = (seconds: number[]): string => seconds.map(sec => sec.toFixed(2)).join(' ');
    process.stdout.write(`${name}: ${median(ratios).toFixed(2)} times (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}); alone ${list(alone)} s, beside ${list(beside)} s\n`);
    for (const [which, { spanNs, threads }] of [['alone', aloneUse], ['beside', besideUse]] as const) {
      for (const [tid, { name: thread, ran, waited }] of [...threads].sort((a, b) => b[1].ran - a[1].ran)) {
        if ((ran + waited) / spanNs < SHOWN_SHARE) continue;
        process.stdout.write(`    ${which.padEnd(6)} ${tid} ${thread.padEnd(16)} ran ${(ran / 1e9).toFixed(2)} s (${(100 * ran / spanNs).toFixed(0)}%), waited for a processor ${(100 * waited / spanNs).toFixed(0)}%\n`);
      }
    }
  }
} finally {
  await host.stop();
  rmSync(dir, { recursive: true, force: true });
}
