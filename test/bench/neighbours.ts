// How much longer a guest's work takes beside a guest that spins, in four ways: alone and beside it in alternation, the
// medians of both, and how the host's threads were used meanwhile.
//   node bin/run-node26.mjs test/bench/neighbours.ts [rounds] [part of a storm's name]
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { diskOf, GuestShell, TestHost } from '../guests/guest-shell.ts';
import { startOf, STOP, STORMS, WORK, WORK_DONE } from '../guests/storms.ts';

const rounds = Number(process.argv[2] ?? 5), only = process.argv[3] ?? '', DISK_BYTES = 16 * 2 ** 20;
/** Threads that used less than this are left out of the table. */
const SHOWN_SHARE = 0.02;
const median = (list: number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1]!;

/** Nanoseconds that a thread ran, and that it waited for a processor. */
interface Use { readonly name: string; readonly ran: number; readonly waited: number }
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
    const begin = performance.now(), output = await quiet.run(WORK);
    if (!WORK_DONE.test(output)) throw new Error(`the work went wrong: ${output}`);
    return (performance.now() - begin) / 1000;
  };
  await timed();
  for (const [name, storm] of Object.entries(STORMS)) {
    if (!name.includes(only)) continue;
    const alone: number[] = [], beside: number[] = [], used = new Map<string, Use>();
    let spanNs = 0;
    for (let n = 0; n < rounds; n++) {
      alone.push(await timed());
      await hostile.run(startOf(storm));
      const before = threadsOf(pid), sec = await timed(), after = threadsOf(pid);
      await hostile.run(STOP);
      beside.push(sec);
      spanNs += sec * 1e9;
      for (const [tid, { name: comm, ran, waited }] of after) {
        const was = before.get(tid), sum = used.get(tid);
        used.set(tid, { name: comm, ran: (sum?.ran ?? 0) + ran - (was?.ran ?? 0), waited: (sum?.waited ?? 0) + waited - (was?.waited ?? 0) });
      }
    }
    const list = (seconds: number[]): string => seconds.map(sec => sec.toFixed(2)).join(' ');
    process.stdout.write(`${name}: ${(median(beside) / median(alone)).toFixed(2)} times; alone ${list(alone)} s, beside ${list(beside)} s\n`);
    for (const [tid, { name: comm, ran, waited }] of [...used].sort((a, b) => b[1].ran - a[1].ran)) {
      if ((ran + waited) / spanNs > SHOWN_SHARE) process.stdout.write(`    ${tid} ${comm.padEnd(16)} ran ${(100 * ran / spanNs).toFixed(0)}%, waited for a processor ${(100 * waited / spanNs).toFixed(0)}%\n`);
    }
  }
} finally {
  await host.stop();
  rmSync(dir, { recursive: true, force: true });
}
