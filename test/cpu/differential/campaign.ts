// Runs batches of cases on both sides and gathers what differs.
import { forms } from '../../../hypervisor/cpu/decode.ts';
import { CaseMaker, newMeta, type Meta } from './cases.ts';
import { differences } from './compare.ts';
import { Guest } from './guest.ts';
import { CASE_WORDS, CODE_BYTES, MAX_CASES } from './layout.ts';
import type { NativeHost } from './native.ts';
import { nameOf, recipes, type Recipe } from './rows.ts';
import type { Sample } from './report.ts';
import { makeSequence, SEQUENCE_STRIDE, sequenceInputs } from './sequence.ts';
import type { Stage } from './stage.ts';

/** 35 is coprime to the page size: cases come to lie across page ends. */
const STRIDE = 35;
const BATCH = MAX_CASES;
const SEQUENCES = 512;
/** Sequences run with several states each: later ones find their blocks decoded and linked. */
const STATES_OF_SEQUENCE = 4;
/** Where encodings that run with several states lie: far from each other, for their jumps. */
const STATES_STRIDE = 515, STATES_AT = 200;
/** Differences of one kind that are kept whole. */
const SAMPLES_PER_KIND = 2;

export interface CampaignOptions { seed: number; count: number; only?: RegExp; /** Share of cases that are sequences. */ sequences?: number;
  /** States that an encoding runs with, one after the other; more than 1: without single steps, as translations want it. Sequences get four times as many. */
  states?: number;
  /** Ends the campaign behind the batch in work. */
  signal?: AbortSignal;
  /** Told of each difference whose sample is kept. */
  found?: (s: Sample) => void }
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

/** Cases made together: they share a code image, and a mode. */
interface Batch { readonly place: number; readonly code: Uint8Array; readonly input: Uint32Array; readonly metas: Meta[]; count: number; compat: boolean; sequence: boolean; done: Promise<void> }

const bytesOf = (w: Uint32Array): Uint8Array => new Uint8Array(w.buffer, w.byteOffset, w.byteLength);

/** A row of x87's stands for dozens of instructions, one that may be locked for twice as many forms as another. */
const weightOf = (x: Recipe): number => x.mnemonic === 'x87' ? 6 : x.lockable ? 3 : 1;
/** Makes batches: every recipe comes up as often as any other, but for its weight. */
class BatchMaker {
  readonly maker: CaseMaker;
  private readonly byMode: Record<'long' | 'compat', Recipe[]>;
  private readonly deck: Record<'long' | 'compat', Recipe[]> = { long: [], compat: [] };
  private readonly sequences: number;
  private readonly states: number;

  constructor(o: CampaignOptions, stage: Stage) {
    this.states = Math.max(1, Math.min(o.states ?? 1, BATCH / STATES_OF_SEQUENCE));
    // What leaves by its nature, and what the host makes its own of, is single-stepped or nothing.
    const possible = this.states > 1 ? recipes.filter(x => !x.segments && !/^(privileged|rdtscp?)$/.test(x.mnemonic)) : recipes, chosen = o.only ? possible.filter(x => o.only!.test(nameOf(x))) : possible;
    if (!chosen.length) throw new Error(`no instruction matches ${String(o.only)}`);
    this.maker = new CaseMaker(o.seed, stage);
    const weighted = chosen.flatMap(x => Array.from({ length: weightOf(x) }, () => x));
    this.byMode = { long: weighted.filter(x => x.long), compat: weighted.filter(x => x.compat) };
    this.sequences = o.sequences ?? 0.2;
  }
  private deal(mode: 'long' | 'compat'): Recipe {
    let deck = this.deck[mode];
    if (!deck.length) {
      deck = this.deck[mode] = [...this.byMode[mode]];
      for (let i = deck.length - 1; i > 0; i--) { const k = this.maker.r.below(i + 1); [deck[i], deck[k]] = [deck[k]!, deck[i]!]; }
    }
    return deck.pop()!;
  }
  make(b: Batch, most: number): void {
    const { maker, byMode } = this, { r } = maker, { input, code } = b;
    maker.nextBatch();
    const compat = b.compat = !byMode.long.length || byMode.compat.length > 0 && r.chance(0.25), sequence = b.sequence = r.chance(this.sequences);
    const { states } = this, runs = sequence ? STATES_OF_SEQUENCE * states : states;
    b.count = Math.min(most, sequence && states === 1 ? SEQUENCES : BATCH);
    code.fill(0xcc);
    for (let i = 0; i < b.count; i++) {
      const meta = b.metas[i]!, base = i * CASE_WORDS, first = b.metas[i - i % runs]!, n = Math.floor(i / runs);
      if (sequence && first !== meta) sequenceInputs(maker, input, base, first, meta);
      else if (sequence) makeSequence(maker, input, base, code, n * SEQUENCE_STRIDE, compat, meta);
      else if (first !== meta) maker.again(input, base, first, meta);
      else if (states > 1) maker.make(this.deal(compat ? 'compat' : 'long'), input, base, code, STATES_AT + n * STATES_STRIDE + r.below(8), compat, meta, true);
      else maker.make(this.deal(compat ? 'compat' : 'long'), input, base, code, i * STRIDE + r.below(8), compat, meta);
    }
  }
}

/** Host and guest run a batch at the same time; the next one is made, too, while the host is at it. */
export async function runCampaign(host: NativeHost, o: CampaignOptions, progress?: (done: number, differing: number) => void): Promise<CampaignResult> {
  const guest = new Guest(), { stage } = guest, makers = new BatchMaker(o, stage), ours = stage.slots(2), theirs = stage.slots(3);
  const batches = [0, 1].map((place): Batch => ({ place, code: new Uint8Array(CODE_BYTES), input: stage.slots(place), metas: Array.from({ length: BATCH }, () => newMeta(recipes[0]!)), count: 0, compat: false, sequence: false, done: Promise.resolve() }));
  const result: CampaignResult = { cases: 0, differing: 0, tally: new Map(), coverage: new Uint32Array(forms.length), traps: new Map(), samples: [], counters: {} };
  const kinds = new Map<string, number>();
  let made = 0;
  const prepare = (b: Batch): void => { makers.make(b, o.count - made); made += b.count; };
  const start = (b: Batch): void => { b.done = host.run(b.place, b.code, bytesOf(b.input), b.count); };

  const compare = ({ metas, input, code, count, compat, sequence }: Batch): void => {
    const difference = differences(stage, input, ours, theirs);
    for (let i = 0; i < count; i++) {
      const meta = metas[i]!, name = sequence ? 'sequence' : nameOf(meta.recipe), base = i * CASE_WORDS, what = difference(meta, base), trap = theirs[base]!;
      let t = result.tally.get(name);
      if (!t) result.tally.set(name, t = { cases: 0, differing: 0 });
      t.cases++;
      if (meta.formIndex >= 0) result.coverage[meta.formIndex]!++;
      result.traps.set(trap, (result.traps.get(trap) ?? 0) + 1);
      if (!what) continue;
      t.differing++;
      result.differing++;
      const kind = `${name} ${what}`, seen = kinds.get(kind) ?? 0;
      kinds.set(kind, seen + 1);
      if (seen >= SAMPLES_PER_KIND) continue;
      const cut = (w: Uint32Array): Uint32Array => w.slice(base, base + CASE_WORDS);
      const sample: Sample = { name, what, bytes: code.slice(meta.at, meta.at + meta.length), compat, step: meta.step, input: cut(input), ours: cut(ours), host: cut(theirs) };
      result.samples.push(sample);
      o.found?.(sample);
    }
    result.cases += count;
    progress?.(result.cases, result.differing);
  };

  let now = batches[0]!, next = batches[1]!;
  prepare(now);
  start(now);
  while (now.count && !o.signal?.aborted) {
    guest.loadCode(now.code);
    for (let i = 0; i < now.count; i++) guest.run(now.input, ours, i * CASE_WORDS);
    prepare(next);
    await now.done;
    host.results(now.place, bytesOf(theirs), now.count);
    if (next.count) start(next);
    compare(now);
    [now, next] = [next, now];
  }
  await now.done;
  result.counters = guest.cpu.counters();
  return result;
}
