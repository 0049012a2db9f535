// Runs batches of cases on both sides and gathers what differs.
import { forms } from '../../../hypervisor/cpu/decode.ts';
import { CaseMaker, newMeta, type Meta } from './cases.ts';
import { difference } from './compare.ts';
import { Guest } from './guest.ts';
import { CASE_WORDS, CODE_BYTES, MAX_CASES } from './layout.ts';
import { NativeHost } from './native.ts';
import { nameOf, recipes, type Recipe } from './rows.ts';
import type { Sample } from './report.ts';
import { makeSequence, RUNS_PER_SEQUENCE, SEQUENCE_STRIDE, sequenceInputs } from './sequence.ts';

/** 35 is coprime to the page size: cases come to lie across page ends. */
const STRIDE = 35;
const BATCH = 2048;
const SEQUENCES = 512;
/** Differences of one kind that are kept whole. */
const SAMPLES_PER_KIND = 2;

export interface CampaignOptions { seed: number; count: number; only?: RegExp; /** Share of cases that are sequences. */ sequences?: number }
export interface CampaignResult {
  cases: number; differing: number;
  /** Cases and differences by mnemonic. */
  tally: Map<string, { cases: number; differing: number }>;
  /** Of our processor: translations and the like. */
  counters: Record<string, number>;
  /** Cases by form (index into forms). */
  coverage: Uint32Array;
  /** Outcomes on the host by trap number. */
  traps: Map<number, number>;
  samples: Sample[];
}

export async function runCampaign(host: NativeHost, o: CampaignOptions, progress?: (done: number, differing: number) => void): Promise<CampaignResult> {
  const maker = new CaseMaker(o.seed), guest = new Guest(), { r } = maker;
  const chosen = o.only ? recipes.filter(x => o.only!.test(nameOf(x))) : recipes;
  if (!chosen.length) throw new Error(`no instruction matches ${String(o.only)}`);
  const byMode = { long: chosen.filter(x => x.long), compat: chosen.filter(x => x.compat) };
  const code = new Uint8Array(CODE_BYTES);
  const input = new Uint32Array(MAX_CASES * CASE_WORDS), ours = new Uint32Array(MAX_CASES * CASE_WORDS), theirs = new Uint32Array(MAX_CASES * CASE_WORDS);
  const inputBytes = new Uint8Array(input.buffer), theirBytes = new Uint8Array(theirs.buffer);
  const metas: Meta[] = Array.from({ length: BATCH }, () => newMeta(chosen[0]!));
  const result: CampaignResult = { cases: 0, differing: 0, tally: new Map(), coverage: new Uint32Array(forms.length), traps: new Map(), samples: [], counters: {} };
  const kinds = new Map<string, number>();
  const deck = { long: [] as Recipe[], compat: [] as Recipe[] };
  /** Every recipe comes up as often as any other. */
  const deal = (mode: 'long' | 'compat'): Recipe => {
    if (!deck[mode].length) { deck[mode] = [...byMode[mode]]; for (let i = deck[mode].length - 1; i > 0; i--) { const k = r.below(i + 1); [deck[mode][i], deck[mode][k]] = [deck[mode][k]!, deck[mode][i]!]; } }
    return deck[mode].pop()!;
  };

  while (result.cases < o.count) {
    const compat = !byMode.long.length || byMode.compat.length > 0 && r.chance(0.25), sequence = r.chance(o.sequences ?? 0.2);
    const n = Math.min(o.count - result.cases, sequence ? SEQUENCES : BATCH), mode = compat ? 'compat' : 'long';
    code.fill(0xcc);
    for (let i = 0; i < n; i++) {
      const meta = metas[i]!, base = i * CASE_WORDS;
      const first = metas[i - i % RUNS_PER_SEQUENCE]!;
      if (sequence && first !== meta) sequenceInputs(maker, input, base, first.at, first.length, compat, first.undefinedFlags, meta);
      else if (sequence) makeSequence(maker, input, base, code, i / RUNS_PER_SEQUENCE * SEQUENCE_STRIDE, compat, meta);
      else maker.make(deal(mode), input, base, code, i * STRIDE + r.below(8), compat, meta);
    }
    const native = host.run(code, inputBytes, n);
    guest.loadCode(code);
    for (let i = 0; i < n; i++) guest.run(input, ours, i);
    await native;
    host.results(theirBytes, n);
    for (let i = 0; i < n; i++) {
      const meta = metas[i]!, name = sequence ? 'sequence' : nameOf(meta.recipe), what = difference(meta, input, ours, theirs, i);
      let t = result.tally.get(name);
      if (!t) result.tally.set(name, t = { cases: 0, differing: 0 });
      t.cases++;
      if (meta.formIndex >= 0) result.coverage[meta.formIndex]!++;
      const trap = theirs[i * CASE_WORDS]!;
      result.traps.set(trap, (result.traps.get(trap) ?? 0) + 1);
      if (!what) continue;
      t.differing++;
      result.differing++;
      const kind = `${name} ${what}`, seen = kinds.get(kind) ?? 0;
      kinds.set(kind, seen + 1);
      if (seen >= SAMPLES_PER_KIND) continue;
      const cut = (w: Uint32Array): Uint32Array => w.slice(i * CASE_WORDS, (i + 1) * CASE_WORDS);
      result.samples.push({ name, what, bytes: code.slice(meta.at, meta.at + meta.length), compat, step: meta.step, input: cut(input), ours: cut(ours), host: cut(theirs) });
    }
    result.cases += n;
    progress?.(result.cases, result.differing);
  }
  result.counters = guest.cpu.counters();
  return result;
}
