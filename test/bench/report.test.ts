import { expect, test } from 'vitest';
import { chart, geometricMean, ratio, table, type Row } from './report.ts';

const rows: Row[] = [
  { name: 'time', unit: 's', values: { a: [2, 1, 9], b: [4, 4, 4] } },
  { name: 'rate', unit: '1/s', values: { a: [300], b: [100] } },
  { name: 'a alone <&>', unit: 's', values: { a: [1], b: [] } },
];

test('a ratio above one is in favour of the first, whether time or rate is measured', () => {
  expect(rows.map(r => ratio(r, 'a', 'b'))).toEqual([2, 3, undefined]);
  expect(geometricMean([2, 8])).toBeCloseTo(4);
});

test('the table has a line per workload and the mean of what both have; the chart is well-formed text', () => {
  const report = { machine: { cpu: 'x < y' }, rows };
  const lines = table(report, ['a', 'b']).split('\n');
  expect(lines).toHaveLength(5);
  expect(lines[4]).toMatch(/geometric mean .*2\.449$/);
  const svg = chart(report, 'a', 'b');
  expect(svg.match(/<rect /g)).toHaveLength(4); // background, two workloads, the mean
  expect(svg).toContain('x &#60; y');
});
