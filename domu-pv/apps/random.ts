// A seeded source of nonsense.
const EDGES = [0, 1, 2, 10, 11, 12, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 2048, 4095, 4096, 4097, 65535, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

export class Random {
  #state: number;
  constructor(seed: number) { this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b) | 1; }
  u32(): number { let x = this.#state; x ^= x << 13; x ^= x >>> 17; x ^= x << 5; return (this.#state = x) >>> 0; }
  below(limit: number): number { return this.u32() % limit; }
  chance(oneIn: number): boolean { return this.below(oneIn) === 0; }
  pick<T>(list: readonly T[]): T { return list[this.below(list.length)]!; }
  edge(): number { return this.chance(2) ? this.pick(EDGES) : this.u32(); }
}
