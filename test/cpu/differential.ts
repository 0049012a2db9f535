// Compares the processor with the host's own, instruction by instruction.
//   node test/cpu/differential.ts [--count N] [--seed S] [--only REGEX] [--jobs N] [--sequences SHARE] [--states N] [--show N] [--every SECONDS] [--json]
// With XENOLITH_JIT=force the translator's code is compared: --states 64 --sequences 0.5 lets each translation run with many states.
// Progress, and differences as they are found, go to stderr; SIGTERM and SIGINT end a run with its summary.
// Exits 0 when nothing differs, 1 on a difference, 2 when this host cannot run the native side.
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import { forms } from '../../hypervisor/cpu/decode.ts';
import { runCampaign, type CampaignResult } from './differential/campaign.ts';
import { NativeHost } from './differential/native.ts';
import { describeSample, uncovered } from './differential/report.ts';
import { excludedForm } from './differential/rows.ts';
import type { Report } from './differential/run.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100000' }, seed: { type: 'string', default: '1' }, only: { type: 'string' }, jobs: { type: 'string', default: '1' },
    sequences: { type: 'string', default: '0.2' }, states: { type: 'string', default: '1' }, show: { type: 'string', default: '10' }, every: { type: 'string', default: '5' }, coverage: { type: 'boolean', default: false }, json: { type: 'boolean', default: false }, quiet: { type: 'boolean', default: false },
  },
});
const count = Number(values.count), seed = Number(values.seed), jobs = Number(values.jobs);

function summary(r: CampaignResult, seconds: number): void {
  for (const s of r.samples.slice(0, Number(values.show))) console.log(describeSample(s), '\n');
  const bad = [...r.tally].filter(([, t]) => t.differing).sort((a, b) => b[1].differing - a[1].differing);
  if (bad.length) console.log(`differences: ${bad.map(([m, t]) => `${m} ${t.differing}/${t.cases}`).join(', ')}`);
  const missing = uncovered(r.coverage, f => !excludedForm(f)), excluded = new Map<string, number>();
  for (const f of forms) { const why = excludedForm(f); if (why) excluded.set(why, (excluded.get(why) ?? 0) + 1); }
  const least = forms.map((f, i) => excludedForm(f) ? Infinity : r.coverage[i]!).reduce((a, b) => Math.min(a, b), Infinity);
  if (!values.only) {
    console.log(`forms: ${forms.length}, left out ${[...excluded].map(([why, n]) => `${n} (${why})`).join(', ')}, not covered ${missing.length}, least covered ${least} cases`);
    if (missing.length) console.log(`  not covered: ${(values.coverage ? missing : missing.slice(0, 20)).join('; ')}${missing.length > 20 && !values.coverage ? '; ...' : ''}`);
  }
  console.log(`outcomes on the host: ${[...r.traps].sort((a, b) => a[0] - b[0]).map(([t, n]) => `${t === 1 ? 'done' : t === 3 ? 'breakpoint' : `trap ${t}`} ${n}`).join(', ')}`);
  console.log(`${r.cases} cases, ${r.differing} differences, seed ${seed}, ${seconds.toFixed(1)} s, ${Math.round(r.cases / seconds)} cases/s`);
}

const report = (r: CampaignResult): Report => ({ cases: r.cases, differing: r.differing, samples: r.samples.map(describeSample), traps: Object.fromEntries(r.traps), counters: r.counters, missing: uncovered(r.coverage, f => !excludedForm(f)) });

async function single(): Promise<number> {
  const host = NativeHost.open();
  if (typeof host === 'string') { console.error(`differential: skipped, ${host}`); return 2; }
  const start = performance.now();
  const stop = new AbortController();
  let last = start;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());
  try {
    const r = await runCampaign(host, { seed, count, ...(values.only ? { only: new RegExp(`^(${values.only})$`) } : {}), sequences: Number(values.sequences), states: Number(values.states), signal: stop.signal,
      found: s => { if (!values.quiet) console.error(`seed ${seed}: ${describeSample(s)}\n`); } }, (done, differing) => {
      if (values.quiet || performance.now() - last < Number(values.every) * 1000) return;
      last = performance.now();
      console.error(`${new Date().toISOString()} seed ${seed}: ${done} cases, ${differing} differences`);
    });
    if (values.json) console.log(JSON.stringify(report(r))); else summary(r, (performance.now() - start) / 1000);
    return r.differing ? 1 : 0;
  } finally { host.close(); }
}

/** Each job is a process of its own with its own seed. */
async function several(): Promise<number> {
  const rest = process.argv.slice(2).filter((a, i, all) => !/^--(jobs|seed|count)/.test(a) && !(/^--(jobs|seed|count)$/.test(all[i - 1] ?? '')));
  const codes = await Promise.all(Array.from({ length: jobs }, (_, n) => new Promise<number>(resolve => {
    const child = spawn(process.execPath, [import.meta.filename, ...rest, '--count', String(Math.ceil(count / jobs)), '--seed', String(seed + n), '--quiet'], { stdio: 'inherit' });
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => child.kill(signal));
    child.on('exit', code => resolve(code ?? 1));
  })));
  return Math.max(...codes);
}
process.exitCode = jobs > 1 ? await several() : await single();
