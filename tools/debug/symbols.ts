// Names for addresses: from System.map, from a guest's /proc/kallsyms, or from the symbol table of a vmlinux.
import { readFileSync } from 'node:fs';

interface Symbol { readonly address: bigint; readonly name: string; readonly module: string | undefined }

/** Sorted names of code. */
export class SymbolTable {
  readonly #symbols: readonly Symbol[];
  constructor(symbols: readonly Symbol[]) { this.#symbols = [...symbols].sort((a, b) => a.address < b.address ? -1 : a.address > b.address ? 1 : 0); }
  get size(): number { return this.#symbols.length; }

  /** `name+0x12`, with `[module]` behind where there is one; undefined below the first and far beyond the last. */
  nameOf(address: bigint): string | undefined {
    let low = 0, high = this.#symbols.length;
    while (low < high) { const middle = low + high >>> 1; if (this.#symbols[middle]!.address <= address) low = middle + 1; else high = middle; }
    // Of several names for one address the first is the better known.
    while (low > 1 && this.#symbols[low - 2]!.address === this.#symbols[low - 1]!.address) low--;
    const found = this.#symbols[low - 1];
    if (!found || address - found.address >= FARTHEST) return undefined;
    return `${found.name}+0x${(address - found.address).toString(16)}${found.module === undefined ? '' : ` [${found.module}]`}`;
  }
}
/** No function is longer. */
const FARTHEST = 1n << 20n;

/** Lines `address type name [module]`; only code counts. Addresses all zero: /proc/kallsyms read without the right to. */
export function parseSymbolMap(text: string): SymbolTable {
  const symbols: Symbol[] = [];
  for (const line of text.split('\n')) {
    const [, address, type, name, module] = /^([0-9a-fA-F]{8,16})\s+(\S)\s+(\S+)(?:\s+\[(\S+)\])?\s*$/.exec(line) ?? [];
    if (address !== undefined && /[tTwW]/.test(type!)) symbols.push({ address: BigInt(`0x${address}`), name: name!, module });
  }
  if (symbols.length === 0) throw new Error('it holds no symbols of code: a System.map or the output of /proc/kallsyms has lines "address type name"');
  if (symbols.every(s => s.address === 0n)) throw new Error('all its addresses are zero: read /proc/kallsyms as root in the guest (and with kernel.kptr_restrict=0)');
  return new SymbolTable(symbols);
}

const SHT_SYMTAB = 2, STT_NOTYPE = 0, STT_FUNC = 2, STT_GNU_IFUNC = 10, SYMBOL_BYTES = 24;

/** The .symtab of a 64-bit little-endian ELF file. */
export function parseElfSymbols(file: Buffer): SymbolTable {
  const bad = (): never => { throw new Error('it is not a whole 64-bit little-endian ELF file'); };
  if (file.length < 64 || file[4] !== 2 || file[5] !== 1) bad();
  const big = (at: number): number => at + 8 <= file.length ? Number(file.readBigUInt64LE(at)) : bad();
  const word = (at: number): number => at + 4 <= file.length ? file.readUInt32LE(at) : bad();
  const sections = big(40), size = file.readUInt16LE(58), count = file.readUInt16LE(60), symbols: Symbol[] = [];
  for (let i = 0; i < count; i++) {
    const header = sections + i * size;
    if (word(header + 4) !== SHT_SYMTAB) continue;
    const start = big(header + 24), bytes = big(header + 32), names = sections + word(header + 40) * size, namesAt = big(names + 24), namesEnd = namesAt + big(names + 32);
    if (start + bytes > file.length || namesEnd > file.length) bad();
    for (let at = start; at + SYMBOL_BYTES <= start + bytes; at += SYMBOL_BYTES) {
      const type = file[at + 4]! & 15, nameAt = namesAt + word(at), end = file.indexOf(0, nameAt);
      if (type !== STT_FUNC && type !== STT_NOTYPE && type !== STT_GNU_IFUNC || file.readUInt16LE(at + 6) === 0 || nameAt >= namesEnd || end < 0) continue;
      symbols.push({ address: file.readBigUInt64LE(at + 8), name: file.toString('latin1', nameAt, end), module: undefined });
    }
  }
  if (symbols.length === 0) throw new Error('it has no symbol table (a stripped vmlinux): give its System.map, or the guest\'s /proc/kallsyms');
  return new SymbolTable(symbols.filter(s => s.name !== ''));
}

/** @throws Error that names the file and the way out */
export function readSymbols(path: string): SymbolTable {
  try {
    const file = readFileSync(path);
    return file.subarray(0, 4).toString('latin1') === '\x7fELF' ? parseElfSymbols(file) : parseSymbolMap(file.toString('latin1'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(`symbols from ${path}: ${code === 'ENOENT' ? 'there is no such file' : message}`);
  }
}
