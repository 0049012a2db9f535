// From a graph of blocks to WebAssembly's nesting, by the dominator tree (N. Ramsey, "Beyond Relooper", ICFP 2022):
// a block with several ways into it stands behind a label in its dominator, one that a way leads back to is a loop, and
// any other is emitted where its only way comes from. Ways into the middle of a loop are cut: they leave the translation.

export class Structure {
  /** Blocks that a way leads back to. */
  readonly loops = new Set<number>();
  /** Blocks with several ways into them from before. */
  readonly merges = new Set<number>();
  private readonly order = new Map<number, number>();
  private readonly dominator = new Map<number, number>();
  private readonly below = new Map<number, number[]>();
  private readonly cut = new Set<string>();

  /** @param successors of each block, once for each way */
  constructor(entry: number, successors: (block: number) => readonly number[]) {
    do { this.number(entry, successors); this.dominate(entry, successors); } while (this.cutCrossings(successors));
    const ways = new Map<number, number>();
    for (const from of this.order.keys()) for (const to of this.ways(from, successors)) {
      if (this.isBack(from, to)) this.loops.add(to); else ways.set(to, (ways.get(to) ?? 0) + 1);
    }
    for (const [to, n] of ways) if (n > 1) this.merges.add(to);
    for (const to of this.merges) {
      const d = this.dominator.get(to)!, list = this.below.get(d);
      if (list) list.push(to); else this.below.set(d, [to]);
    }
    // The one that comes last is the outermost.
    for (const list of this.below.values()) list.sort((a, b) => this.order.get(b)! - this.order.get(a)!);
  }
  has(block: number): boolean { return this.order.has(block); }
  isBack(from: number, to: number): boolean { return this.order.get(to)! <= this.order.get(from)!; }
  /** Whether the way was cut. */
  isCut(from: number, to: number): boolean { return this.cut.has(`${from} ${to}`); }
  /** The merges that a block dominates directly, outermost first. */
  mergesBelow(block: number): readonly number[] { return this.below.get(block) ?? []; }

  private ways(from: number, successors: (block: number) => readonly number[]): readonly number[] {
    const all = successors(from);
    return this.cut.size ? all.filter(to => !this.isCut(from, to)) : all;
  }
  /** Reverse postorder. */
  private number(entry: number, successors: (block: number) => readonly number[]): void {
    const done: number[] = [], seen = new Set([entry]), stack: { block: number; left: number[] }[] = [{ block: entry, left: [...this.ways(entry, successors)] }];
    while (stack.length) {
      const top = stack.at(-1)!, next = top.left.pop();
      if (next === undefined) { done.push(top.block); stack.pop(); continue; }
      if (seen.has(next)) continue;
      seen.add(next);
      stack.push({ block: next, left: [...this.ways(next, successors)] });
    }
    this.order.clear();
    done.reverse().forEach((block, n) => this.order.set(block, n));
  }
  /** K. D. Cooper, T. J. Harvey, K. Kennedy, "A Simple, Fast Dominance Algorithm". */
  private dominate(entry: number, successors: (block: number) => readonly number[]): void {
    const before = new Map<number, number[]>(), { order, dominator } = this;
    for (const from of order.keys()) for (const to of this.ways(from, successors)) { const list = before.get(to); if (list) list.push(from); else before.set(to, [from]); }
    dominator.clear();
    dominator.set(entry, entry);
    for (let changed = true; changed;) {
      changed = false;
      for (const block of order.keys()) {
        if (block === entry) continue;
        let d: number | undefined;
        for (const from of before.get(block)!) if (dominator.has(from)) d = d === undefined ? from : this.common(from, d);
        if (d !== undefined && dominator.get(block) !== d) { dominator.set(block, d); changed = true; }
      }
    }
  }
  private common(a: number, b: number): number {
    while (a !== b) {
      while (this.order.get(a)! > this.order.get(b)!) a = this.dominator.get(a)!;
      while (this.order.get(b)! > this.order.get(a)!) b = this.dominator.get(b)!;
    }
    return a;
  }
  private dominates(a: number, b: number): boolean {
    for (let n = b; ; n = this.dominator.get(n)!) { if (n === a) return true; if (this.dominator.get(n) === n) return false; }
  }
  private cutCrossings(successors: (block: number) => readonly number[]): boolean {
    const before = this.cut.size;
    for (const from of this.order.keys()) for (const to of this.ways(from, successors)) if (this.isBack(from, to) && !this.dominates(to, from)) this.cut.add(`${from} ${to}`);
    return this.cut.size > before;
  }
}
