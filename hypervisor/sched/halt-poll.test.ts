import { expect, test } from 'vitest';
import { H } from '../domain/state.ts';
import { HaltPoll } from './halt-poll.ts';

const BELL = 4000, ROUND_MS = 0.001;
function setup(freePcpus = 2) {
  const words = new Int32Array(new SharedArrayBuffer(4 * (BELL + 1)));
  words[H.freePcpus] = freePcpus;
  let now = 0, reads = 0, steps: number[] = [];
  const poll = new HaltPoll(words, BELL, () => { reads++; return now += steps.shift() ?? ROUND_MS; });
  /** A block in which the bell does not ring. @param clock by how much it goes on with each look at it @returns how often it was looked at */
  const block = (...clock: number[]): number => { const before = reads; steps = clock; poll.wait(words[BELL]!, 1); return reads - before; };
  return { words, poll, block, reads: () => reads };
}
/** Begin and end: it slept without looking. */
const SLEPT = 2;

test('what short blocks are is looked for, longer and longer; after a long one nothing is', () => {
  const { poll, block } = setup();
  expect(block(0, 0.03)).toBe(SLEPT);
  expect(poll.budgetMs).toBeCloseTo(0.02);
  expect(block()).toBeGreaterThan(15);
  expect(poll.budgetMs).toBeCloseTo(0.04);
  block(0, 0.019, 0.019, 0.019, 0.2);
  expect(poll.budgetMs).toBe(0);
  expect(block(0, 0.2)).toBe(SLEPT);
});
test('the bell is seen without a sleep', () => {
  const { words, poll, block, reads } = setup();
  block(0, 0.03);
  const seen = words[BELL]!, before = reads();
  words[BELL] = seen + 1;
  poll.wait(seen);
  expect(reads() - before).toBe(1);
});
test('no looking where others want the processor', () => {
  const { words, block } = setup();
  block(0, 0.03);
  words[H.freePcpus] = 1;
  expect(block()).toBe(SLEPT);
});
test('no looking for a while after the thread was interrupted in it', () => {
  const { poll, block } = setup();
  block(0, 0.03);
  expect(block(0, 0.05)).toBe(3);
  expect(poll.budgetMs).toBe(0);
  for (let n = 0; n < 255; n++) expect(block(0, 0.03)).toBe(SLEPT);
  expect(poll.budgetMs).toBeGreaterThan(0);
});
