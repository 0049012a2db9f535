// The benchmark's figures as a table, as JSON and as a chart.
import { writeFileSync } from 'node:fs';

/** Seconds per round, or units per second where the workload gives a rate. */
export interface Row { readonly name: string; readonly unit: 's' | '1/s'; readonly values: Readonly<Record<string, readonly number[]>> }
export interface Report { readonly machine: Readonly<Record<string, string>>; readonly rows: readonly Row[] }

const median = (v: readonly number[]): number => { const s = [...v].sort((a, b) => a - b), m = s.length >> 1; return s.length % 2 ? s[m]! : (s[m - 1]! + s[m]!) / 2; };
/** How many times faster `a` is than `b`; undefined where one is missing. */
export function ratio(row: Row, a: string, b: string): number | undefined {
  const x = row.values[a], y = row.values[b];
  if (!x?.length || !y?.length) return undefined;
  const r = median(y) / median(x);
  return row.unit === 's' ? r : 1 / r;
}
export const geometricMean = (v: readonly number[]): number => Math.exp(v.reduce((sum, x) => sum + Math.log(x), 0) / v.length);
const ratios = (rows: readonly Row[], a: string, b: string): number[] => rows.map(r => ratio(r, a, b)).filter(x => x !== undefined);

const number = (v: number | undefined): string => v === undefined || Number.isNaN(v) ? '-' : v >= 1000 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(3);

export function table({ rows }: Report, machines: readonly string[]): string {
  const [ours, peer] = machines, third = machines[2];
  const lines = [['workload', 'unit', ...machines, ...(peer ? [`vs ${peer}`] : []), ...(third ? [`vs ${third}`] : [])]];
  for (const r of rows) lines.push([r.name, r.unit, ...machines.map(m => number(r.values[m]?.length ? median(r.values[m]) : undefined)), ...[peer, third].filter(m => m !== undefined).map(m => number(ratio(r, ours!, m)))]);
  lines.push(['geometric mean', '', ...machines.map(() => ''), ...[peer, third].filter(m => m !== undefined).map(m => { const v = ratios(rows, ours!, m); return v.length ? number(geometricMean(v)) : '-'; })]);
  const widths = lines[0]!.map((_, c) => Math.max(...lines.map(l => l[c]!.length)));
  return lines.map(l => l.map((cell, c) => c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!)).join('  ')).join('\n');
}

const ROW = 22, LEFT = 170, WIDTH = 760, TOP = 56;
const escape = (s: string): string => s.replace(/[&<>]/g, c => `&#${c.charCodeAt(0)};`);
/** A bar per workload: the ratio to the peer, on a logarithmic axis, with a line at 1. */
export function chart(report: Report, ours: string, peer: string): string {
  const bars = report.rows.map(r => ({ name: r.name, value: ratio(r, ours, peer) })).filter(b => b.value !== undefined) as { name: string; value: number }[];
  bars.push({ name: 'geometric mean', value: geometricMean(bars.map(b => b.value)) });
  const low = Math.min(0.5, ...bars.map(b => b.value)), high = Math.max(4, ...bars.map(b => b.value));
  const x = (v: number): number => LEFT + (Math.log(v) - Math.log(low)) / (Math.log(high) - Math.log(low)) * (WIDTH - LEFT - 60), height = TOP + bars.length * ROW + 30;
  const parts = [`<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="12">`, '<rect width="100%" height="100%" fill="white"/>',
    `<text x="10" y="20" font-size="15">${escape(`${ours}: times faster than ${peer}`)}</text>`, `<text x="10" y="40" fill="#555">${escape(Object.values(report.machine).join(' · '))}</text>`];
  bars.forEach((b, n) => {
    const y = TOP + n * ROW, from = Math.min(x(1), x(b.value)), colour = n === bars.length - 1 ? '#333' : b.value >= 1 ? '#2a7' : '#c44';
    parts.push(`<text x="${LEFT - 8}" y="${y + 14}" text-anchor="end">${escape(b.name)}</text>`, `<rect x="${from.toFixed(1)}" y="${y + 3}" width="${Math.max(1, Math.abs(x(b.value) - x(1))).toFixed(1)}" height="${ROW - 7}" fill="${colour}"/>`,
      `<text x="${(Math.max(x(1), x(b.value)) + 5).toFixed(1)}" y="${y + 14}">${b.value.toFixed(2)}</text>`);
  });
  parts.push(`<line x1="${x(1)}" x2="${x(1)}" y1="${TOP}" y2="${height - 30}" stroke="black"/>`, `<text x="${x(1)}" y="${height - 14}" text-anchor="middle">1</text>`, '</svg>');
  return `${parts.join('\n')}\n`;
}

export function save(report: Report, machines: readonly string[], stem: string): void {
  const peer = machines[1];
  const means = Object.fromEntries(machines.slice(1).map(m => [m, geometricMean(ratios(report.rows, machines[0]!, m))]));
  writeFileSync(`${stem}.json`, `${JSON.stringify({ ...report, geometricMeans: means }, null, 1)}\n`);
  if (peer) writeFileSync(`${stem}.svg`, chart(report, machines[0]!, peer));
}
