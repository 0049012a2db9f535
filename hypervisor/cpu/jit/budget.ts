// What translations may hold together in one process: V8 ends a process that wants more code than it can place. Each
// translator tells what it holds; once all hold more than the limit, one that holds its equal share of it, or more, drops
// what has run least. A vCPU that is idle keeps what it has, so that the sum may come to some multiple of the limit: for
// n of them at most 1 + 1/2 + ... + 1/n times.

/** WebAssembly bytes of all that is alive. The processor's code for them takes six to seven times as much, and V8's limit is 4 GiB of it. */
const LIMIT_BYTES = 128 * 2 ** 20;
/** Translators at a time; one each for a vCPU that runs a kernel. */
export const BUDGET_SHARES = 1024;

export class CodeBudget {
  private readonly shares: Int32Array;
  private readonly own: number;
  private readonly limit: number;
  /** @param shares bytes that each translator holds @param own this one's index */
  constructor(shares: Int32Array = new Int32Array(1), own = 0, limit = LIMIT_BYTES) { this.shares = shares; this.own = own; this.limit = limit; }
  hold(bytes: number): void { Atomics.add(this.shares, this.own, bytes); }
  /** No more before what is held here is dropped. */
  get exceeded(): boolean {
    let sum = 0, holders = 0;
    // By index: iterators cost ten times as much, and each hot block asks.
    for (let n = 0; n < this.shares.length; n++) { const bytes = this.shares[n]!; sum += bytes; if (bytes > 0) holders++; }
    return sum > this.limit && this.shares[this.own]! * holders >= this.limit;
  }
}
