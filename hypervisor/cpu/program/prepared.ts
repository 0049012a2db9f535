// Modules that have been rewritten and compiled, to be given to the threads of the domains that run them next: most of
// what a start costs is done once, and what the engine makes of the code is shared.
import { rewriteModule } from './rewrite.ts';

export interface PreparedModule {
  /** As its toolchain made it: what tells it from others. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** Where the program's address 0 lies in the memory that it is made for. */
  readonly base: number;
  readonly module: WebAssembly.Module;
  readonly minPages: number; readonly maxPages: number;
}

/** @param base where the program's address 0 lies @throws ModuleError, WebAssembly.CompileError */
export function prepareModule(bytes: Uint8Array, base: number): PreparedModule {
  const { bytes: rewritten, minPages, maxPages } = rewriteModule(bytes, base), kept = new Uint8Array(new SharedArrayBuffer(bytes.length));
  kept.set(bytes);
  return { bytes: kept, base, module: new WebAssembly.Module(rewritten), minPages, maxPages };
}

/** Compared by the engine: in a thread that has just begun a loop over a large module takes longer than all else. */
export const isPrepared = (m: PreparedModule, bytes: Uint8Array, base: number): boolean =>
  m.base === base && m.bytes.length === bytes.length && Buffer.compare(m.bytes, bytes) === 0;

const KEPT = 8, KEPT_BYTES = 32 << 20;

/** The last few that were used, the latest at the end. */
export class PreparedModules {
  #list: readonly PreparedModule[] = [];

  get list(): readonly PreparedModule[] { return this.#list; }
  keep(m: PreparedModule): void {
    const others = this.#list.filter(other => !isPrepared(other, m.bytes, m.base)), all = [...others, m];
    let first = Math.max(0, all.length - KEPT);
    while (first < all.length && all.slice(first).reduce((sum, one) => sum + one.bytes.length, 0) > KEPT_BYTES) first++;
    this.#list = all.slice(first);
  }
}
