// A seeded source of hostile input. FUZZ_SEED repeats a run; FUZZ_RUNS makes it longer.
export const FUZZ_RUNS = Number(process.env['FUZZ_RUNS'] ?? 300);
export const FUZZ_SEED = Number(process.env['FUZZ_SEED'] ?? 1);

export class Random {
  #state: number;
  constructor(seed: number) { this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b) | 1; }
  u32(): number {
    let x = this.#state;
    x ^= x << 13; x ^= x >>> 17; x ^= x << 5;
    return (this.#state = x) >>> 0;
  }
  below(limit: number): number { return this.u32() % limit; }
  chance(oneIn: number): boolean { return this.below(oneIn) === 0; }
  pick<T>(list: readonly T[]): T { return list[this.below(list.length)]!; }
  bytes(length: number): Uint8Array { return Uint8Array.from({ length }, () => this.u32() & 0xff); }
  /** Numbers at which checks tend to be wrong. */
  edge(): number { return this.pick([0, 1, 2, 31, 32, 33, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]); }
}

/** Runs a target with one seed after the other; a failure names its seed. */
export function fuzz(target: (random: Random) => void, runs: number = FUZZ_RUNS): void {
  for (let seed = FUZZ_SEED; seed < FUZZ_SEED + runs; seed++) {
    try { target(new Random(seed)); } catch (error) { throw new Error(`FUZZ_SEED=${seed} FUZZ_RUNS=1 repeats it`, { cause: error }); }
  }
}
