import { expect, test } from 'vitest';
import { Patience } from './patience.ts';

function setup() {
  let now = 0, looks = 0;
  const patience = new Patience(() => now += 0.001), never = (): boolean => { looks++; return false; };
  const wait = (look = never, busy = (): boolean => false): { came: boolean; looks: number } => { looks = 0; return { came: patience.wait(look, busy), looks }; };
  return { wait };
}

test('what comes at once is found; what does not come is looked for briefly', () => {
  const { wait } = setup();
  let n = 0;
  expect(wait(() => ++n > 100).came).toBe(true);
  const vain = wait();
  expect(vain.came).toBe(false);
  expect(vain.looks).toBeGreaterThan(100);
  expect(vain.looks).toBeLessThan(1000);
});
test('in vain a few times, then rarely', () => {
  const { wait } = setup();
  let looked = 0;
  for (let n = 0; n < 2000; n++) if (wait().looks > 0) looked++;
  expect(looked).toBeLessThan(40);
  expect(looked).toBeGreaterThan(8);
});
test('whoever else waits has the thread at once', () => {
  const { wait } = setup();
  expect(wait(undefined, () => true).looks).toBeLessThan(32);
});
