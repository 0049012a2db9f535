// Nesting by dominators: loops, merges, and ways that WebAssembly has no place for.
import { expect, test } from 'vitest';
import { Structure } from './structure.ts';

const of = (edges: Record<number, number[]>): Structure => new Structure(0, b => edges[b] ?? []);

test('a diamond meets in its dominator; what has one way in is no merge', () => {
  const s = of({ 0: [1, 2], 1: [3], 2: [3], 3: [] });
  expect([...s.merges]).toEqual([3]);
  expect(s.mergesBelow(0)).toEqual([3]);
  expect(s.loops.size).toBe(0);
});
test('two ways from one block to another are a merge', () => { expect([...of({ 0: [1, 1], 1: [] }).merges]).toEqual([1]); });
test('loops within loops', () => {
  const s = of({ 0: [1], 1: [2], 2: [2, 3], 3: [1, 4], 4: [] });
  expect([...s.loops].sort()).toEqual([1, 2]);
  expect(s.isBack(2, 2)).toBe(true);
  expect(s.isBack(3, 1)).toBe(true);
  expect(s.isBack(3, 4)).toBe(false);
});
test('of several merges below a block the last is the outermost', () => {
  const s = of({ 0: [1, 2], 1: [3, 2], 2: [3, 4], 3: [4], 4: [] });
  expect(s.mergesBelow(0)).toEqual([4, 3, 2]);
});
test('a way into the middle of a loop is cut, the rest stays', () => {
  const s = of({ 0: [1, 2], 1: [2], 2: [1, 3], 3: [] });
  expect(s.isCut(2, 1) || s.isCut(1, 2)).toBe(true);
  expect(s.has(3)).toBe(true);
});
test('what only a cut way leads to is left out', () => {
  const s = of({ 0: [1, 2], 1: [2], 2: [1] });
  for (const b of [1, 2]) expect(s.has(b)).toBe(true);
});
