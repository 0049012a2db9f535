import { Worker, threadId } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { acquire, breakLock, locked, release } from './lock.ts';

const LOCK = 0, COUNT = 1, READY = 2, ROUNDS = 20_000;
const lockModule = new URL('./lock.ts', import.meta.url).href;
const worker = (words: Int32Array, body: string): Worker => new Worker(
  `const { workerData: words } = require('node:worker_threads'); import(${JSON.stringify(lockModule)}).then(({ acquire, release, locked }) => { ${body} });`,
  { eval: true, workerData: words },
);
const ended = (w: Worker): Promise<number> => new Promise((resolve, reject) => { w.once('exit', resolve); w.once('error', reject); });

test('two threads never are in the section at once', async () => {
  const words = new Int32Array(new SharedArrayBuffer(64));
  // Not an atomic addition: an overlap loses counts.
  const body = `for (let i = 0; i < ${ROUNDS}; i++) locked(words, ${LOCK}, () => { words[${COUNT}] = words[${COUNT}] + 1; });`;
  await Promise.all([worker(words, body), worker(words, body)].map(ended));
  expect(Array.from(words.subarray(0, 2))).toEqual([0, 2 * ROUNDS]);
});
test('a sleeper is woken when the lock becomes free', async () => {
  const words = new Int32Array(new SharedArrayBuffer(64));
  acquire(words, LOCK);
  const done = ended(worker(words, `Atomics.store(words, ${READY}, 1); Atomics.notify(words, ${READY}); acquire(words, ${LOCK}); words[${COUNT}] = 7; release(words, ${LOCK});`));
  Atomics.wait(words, READY, 0);
  await expect.poll(() => words[LOCK]! & 1).toBe(1);
  expect(words[COUNT]).toBe(0);
  release(words, LOCK);
  await done;
  expect([words[COUNT], words[LOCK]]).toEqual([7, 0]);
});
test('a lock whose holder was ended is broken, and only by its name', async () => {
  const words = new Int32Array(new SharedArrayBuffer(64));
  const w = worker(words, `acquire(words, ${LOCK}); Atomics.store(words, ${READY}, 1); for (;;) ;`);
  const thread = w.threadId;
  await expect.poll(() => words[READY], { timeout: 10_000 }).toBe(1);
  await w.terminate();
  expect(breakLock(words, LOCK, threadId)).toBe(false);
  expect(breakLock(words, LOCK, thread)).toBe(true);
  expect(locked(words, LOCK, () => 1)).toBe(1);
  expect(breakLock(words, LOCK, thread)).toBe(false);
});
