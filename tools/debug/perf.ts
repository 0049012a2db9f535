// `xenolith perf`: where a domain's time goes over an interval.
import { writeFileSync } from 'node:fs';
import { runFolder } from '../../dom0/api/run-folder.ts';
import type { PerfReport } from '../../dom0/debug/perf.ts';
import { Client } from '../xl/client.ts';
import { flameSvg, folded } from './flame.ts';
import { numberOption, parseDebugOptions } from './options.ts';
import { readSymbols, type SymbolTable } from './symbols.ts';

export const PERF_USAGE = `Usage: xenolith perf DOMAIN [--seconds N] [--hertz N] [--symbols FILE] [--flame FILE]

Measures a running domain and prints how much of its time was guest code (translated, interpreted, and in TLB misses of
either), how much went into hypercalls (by name) and other exits (by kind), what translating took, the processor's counters,
and the guest's functions where it was met most. Samples are taken at the ends of blocks of guest code, and belong to the kind of
code that came to its end; time in a hypercall counts for the function that made it.

  --seconds N     how long (5)
  --hertz N       samples a second, up to 1000 (500)
  --symbols FILE  System.map, a copy of the guest's /proc/kallsyms (which knows modules), or a vmlinux with symbols
  --flame FILE    write a flame graph by guest function: an SVG image if FILE ends in .svg, else folded stacks
`;
const SECONDS_MAX = 600, HERTZ_MAX = 1000, FUNCTIONS = 25;

/** @returns the exit code */
export async function runPerf(argv: readonly string[]): Promise<number> {
  const options = parseDebugOptions(argv, ['seconds', 'hertz', 'symbols', 'flame'], []);
  if (!options) { process.stdout.write(PERF_USAGE); return 0; }
  const seconds = numberOption(options, 'seconds', 1, SECONDS_MAX) ?? 5, hertz = numberOption(options, 'hertz', 1, HERTZ_MAX) ?? 500;
  const { symbols: file, flame } = options.values, symbols = file === undefined ? undefined : readSymbols(file);
  const report = await new Client(runFolder().socket).perf(options.domain, seconds, hertz), functions = byFunction(report, symbols);
  process.stdout.write(formatReport(report, functions));
  if (flame !== undefined) writeFileSync(flame, flame.endsWith('.svg') ? flameSvg(`domain ${options.domain}`, functions) : folded(functions));
  return 0;
}

/** A function (or a page of code without a name) and how many samples met it. */
export interface Met { readonly path: readonly string[]; readonly count: number }

export function byFunction(report: PerfReport, symbols: SymbolTable | undefined): Met[] {
  const met = new Map<string, { path: string[]; count: number }>();
  for (const { address, kernelMode, count } of report.samples) {
    const name = kernelMode ? symbols?.nameOf(BigInt(`0x${address}`))?.replace(/\+0x[0-9a-f]+/, '') : undefined;
    const path = [kernelMode ? 'kernel' : 'user', name ?? `page ${address.slice(0, -3)}000`], key = path.join(' '), known = met.get(key) ?? { path, count: 0 };
    known.count += count;
    met.set(key, known);
  }
  return [...met.values()].sort((a, b) => b.count - a.count);
}

export function formatReport(report: PerfReport, functions: readonly Met[]): string {
  const exits = Object.entries(report.exits), exitMs = exits.reduce((sum, [, e]) => sum + e.ms, 0), wallMs = report.seconds * 1000;
  const share = (ms: number): string => `${(ms / wallMs * 100).toFixed(1)}%`.padStart(7);
  const lines = [`${report.seconds.toFixed(1)} s: guest code ${share(report.guestMs).trim()}, hypervisor ${share(exitMs).trim()}, neither (waiting) ${share(Math.max(0, wallMs - report.guestMs - exitMs)).trim()}`];
  const met = report.samples.reduce((sum, s) => sum + s.count, 0), translated = report.samples.reduce((sum, s) => sum + s.translated, 0);
  if (met > 0) lines.push(`guest code: translated ${share(report.guestMs * translated / met).trim()}, interpreted ${share(report.guestMs * (met - translated) / met).trim()}`
    + (report.looks > 0 ? `; TLB misses in both ${share(report.guestMs * report.walking / report.looks).trim()}` : ''));
  const { jit_helper_us: helper = 0, jit_compile_us: here = 0, native_us: native = 0 } = report.processor, own = here + native;
  if (helper + own > 0) lines.push(`translating: ${share(own / 1000).trim()} in the vCPUs' time, ${share(helper / 1000).trim()} of another processor`);
  const table = (title: string, rows: readonly (readonly [string, { count: number; ms: number }])[]): void => {
    if (rows.length === 0) return;
    lines.push('', `${title.padEnd(28)}${'count'.padStart(10)}${'ms'.padStart(10)}${'us each'.padStart(10)}${'time'.padStart(8)}`);
    for (const [name, { count, ms }] of [...rows].sort((a, b) => b[1].ms - a[1].ms || b[1].count - a[1].count)) {
      lines.push(`${name.padEnd(28)}${String(count).padStart(10)}${ms.toFixed(1).padStart(10)}${(ms / count * 1000).toFixed(2).padStart(10)} ${share(ms)}`);
    }
  };
  table('exit', exits);
  table('hypercall', Object.entries(report.hypercalls));
  const counters = Object.entries(report.processor).filter(([, n]) => n !== 0);
  if (counters.length > 0) lines.push('', 'processor', ...counters.map(([name, n]) => `${name.padEnd(28)}${String(n).padStart(10)}`));
  const total = functions.reduce((sum, f) => sum + f.count, 0);
  if (total > 0) {
    lines.push('', `${total} samples of guest code`);
    for (const { path, count } of functions.slice(0, FUNCTIONS)) lines.push(`${`${(count / total * 100).toFixed(1)}%`.padStart(7)}  ${path.join(' ')}`);
    if (functions.length > FUNCTIONS) lines.push(`         and ${functions.length - FUNCTIONS} more`);
  }
  return `${lines.join('\n')}\n`;
}
