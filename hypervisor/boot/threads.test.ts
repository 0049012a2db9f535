// The threads together, on the real processor: events, timers, several vCPUs, sharing of pCPUs, ends of all kinds.
import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { H } from '../domain/state.ts';
import { EEXIST, EINVAL } from '../public/errno.ts';
import { type RunningHypervisor, startHypervisor } from './main.ts';
import { TIMER_ROUNDS } from './test-programs.ts';

let running: RunningHypervisor | undefined;
afterEach(async () => { await running?.stop(); running = undefined; });

async function play<T>(scenario: string, pcpus = 2): Promise<T & { dom0Exits: number[] }> {
  const dom0Exits: number[] = [];
  const message = await new Promise<{ result?: T; error?: string; console?: string }>((resolve, reject) => {
    startHypervisor({
      pcpus, dom0Module: new URL('./test-dom0.ts', import.meta.url), dom0Data: { scenario }, onDom0Message: m => resolve(m as { result?: T }),
      onDom0Exit: code => { dom0Exits.push(code); return scenario === 'restart'; },
    }).then(hypervisor => { running = hypervisor; }, reject);
  });
  if (!message.result) throw new Error(`${message.error}\n${message.console}`);
  return { ...message.result, dom0Exits };
}

/** Other programs may take the machine's time: what is promised has to be seen once. */
const MACHINE_SHARED = { retry: 3 };

test('event round trips between Dom0 and a guest that sleeps in between', MACHINE_SHARED, async () => {
  const { answered, medianUs } = await play<{ answered: number; medianUs: number }>('echo');
  expect(answered).toBeGreaterThanOrEqual(500);
  expect(medianUs).toBeLessThan(5000);
});
test('timers fire, never early and soon after', MACHINE_SHARED, async () => {
  const { latenessNs } = await play<{ latenessNs: number[] }>('timer');
  expect(latenessNs).toHaveLength(TIMER_ROUNDS);
  expect(Math.min(...latenessNs)).toBeGreaterThanOrEqual(0);
  expect(latenessNs.sort((a, b) => a - b)[TIMER_ROUNDS / 2]).toBeLessThan(10e6);
});
test('a second vCPU is initialised once, brought up, and reached by IPI', async () => {
  const { results, answered, online } = await play<{ results: number[]; answered: number; online: number }>('smp');
  expect(results).toEqual([-EINVAL, 0, -EEXIST, 0]);
  expect([answered >= 100, online]).toEqual([true, 2]);
});
test.skipIf(process.platform !== 'linux')('vCPUs leave the processor to Dom0 where both want it', async () => {
  await play('smp');
  // Field 19 of proc(5)'s stat, the second one being the name.
  const niceOf = (name: string): number[] => readdirSync('/proc/self/task').map(task => readFileSync(`/proc/self/task/${task}/stat`, 'utf8')).filter(stat => stat.includes(`(${name})`)).map(stat => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]));
  const [dom0] = niceOf('dom0');
  // Whoever compiles for them, as it would take their turns.
  expect(new Set(niceOf('node-V8Worker'))).toEqual(new Set(niceOf('d1v0')));
  for (const vcpu of ['d1v0', 'd1v1']) { expect(niceOf(vcpu)).toHaveLength(1); expect(niceOf(vcpu)[0]).toBeGreaterThan(dom0!); }
});
test.skipIf(process.platform !== 'linux')('a spare thread becomes the vCPU of the next domain, and has its name', async () => {
  const { names, answered, gone } = await play<{ names: string[]; answered: number[]; gone: number[] }>('spare');
  expect([answered.every(n => n >= 10), gone]).toEqual([true, [0, 0]]);
  expect(names).toEqual(expect.arrayContaining(['d1v0', 'd2v0']));
  expect(names).not.toContain('spare');
});
test('on one pCPU, domains that never stop share it evenly and do not keep one from answering', MACHINE_SHARED, async () => {
  const { hogMs, worstMs, rounds } = await play<{ hogMs: [number, number]; worstMs: number; rounds: number }>('shares', 1);
  expect(hogMs[0] + hogMs[1]).toBeGreaterThan(300);
  expect(Math.abs(hogMs[0] - hogMs[1]) / (hogMs[0] + hogMs[1])).toBeLessThan(0.3);
  expect(rounds).toBeGreaterThan(10);
  expect(worstMs).toBeLessThan(500);
});
test('pause, unpause, destroy and crash concern their own domain', async () => {
  const r = await play<{ paused: boolean; stood: boolean; gone: number; destroyMs: number; after: number; answered: number; console: string }>('lifecycle');
  expect([r.paused, r.stood, r.gone]).toEqual([true, true, 0]);
  expect(r.after).toBeLessThan(0);
  expect(r.destroyMs).toBeLessThan(2000);
  expect(r.answered).toBeGreaterThanOrEqual(5);
  expect(r.console).toMatch(/d3v0 domain crashed/);
  // Three memories came and one went: every thread is to take the messages that name them, and perhaps has been told to collect.
  expect(running!.state.words[H.memoryBell]).toBeGreaterThanOrEqual(4);
});
test('a vCPU thread that is ended from outside leaves its pCPU to others, and its domain crashed', async () => {
  const { answered, gone, console } = await play<{ answered: number; gone: number; console: string }>('killed', 1);
  expect([answered >= 5, gone]).toEqual([true, 0]);
  expect(console).toMatch(/d1v0 domain crashed: its thread has ended/);
});
test('what a guest does can be traced, counted and dumped', async () => {
  const { console } = await play<{ console: string }>('trace');
  for (const line of [/d1v0 sched_op\(0x3, /, /d1v0 event_channel_op\(0x4, /, /d1v0 event_channel_op = 0/, /d1v0 event on port 1/, /d1v0 blocked/, /d1 hypercalls: .*sched_op=\d+/, /RIP: +e033:\[<ffffffff8000/]) expect(console).toMatch(line);
});
test('a Dom0 that dies is started again and goes on with the guests there are', async () => {
  const { rounds, gone, left, dom0Exits } = await play<{ rounds: number; gone: number; left: number }>('restart');
  expect([rounds, gone, left, dom0Exits]).toEqual([10, 0, 1, [3]]);
});
