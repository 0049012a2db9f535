import { expect, test } from 'vitest';
import { CodeBudget } from './budget.ts';

test('one alone may hold the limit', () => {
  const budget = new CodeBudget(new Int32Array(4), 2, 100);
  budget.hold(100);
  expect(budget.exceeded).toBe(false);
  budget.hold(1);
  expect(budget.exceeded).toBe(true);
  budget.hold(-101);
  expect(budget.exceeded).toBe(false);
});

test('of several, those with more than their share give way; one that holds less goes on', () => {
  const shares = new Int32Array(4), [hog, small, other] = [0, 1, 3].map(own => new CodeBudget(shares, own, 90));
  hog!.hold(80);
  small!.hold(10);
  other!.hold(5);
  expect([hog, small, other].map(b => b!.exceeded)).toEqual([true, false, false]);
  small!.hold(20);
  expect(small!.exceeded).toBe(true);
  hog!.hold(-80);
  expect([hog, small, other].map(b => b!.exceeded)).toEqual([false, false, false]);
});
