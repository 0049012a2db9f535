// Options of the debugging commands: a domain, and `--name value` pairs.

export class DebugUsageError extends Error {}

export interface DebugOptions { readonly domain: string; readonly values: Readonly<Record<string, string>>; readonly flags: ReadonlySet<string> }

/** Undefined when help is asked for. @throws DebugUsageError */
export function parseDebugOptions(argv: readonly string[], valueNames: readonly string[], flagNames: readonly string[]): DebugOptions | undefined {
  const values: Record<string, string> = {}, flags = new Set<string>(), words: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!, [name, ...rest] = word.replace(/^--/, '').split('=');
    if (word === '--help' || word === '-h') return undefined;
    if (!word.startsWith('--')) { words.push(word); continue; }
    if (flagNames.includes(name!) && rest.length === 0) { flags.add(name!); continue; }
    if (!valueNames.includes(name!)) throw new DebugUsageError(`unknown option ${word}`);
    const value = rest.length > 0 ? rest.join('=') : argv[++i];
    if (value === undefined || value === '') throw new DebugUsageError(`--${name} needs a value`);
    values[name!] = value;
  }
  if (words.length !== 1) throw new DebugUsageError(words.length === 0 ? 'which domain? Give its name or number' : `one domain at a time, not "${words.join(' ')}"`);
  return { domain: words[0]!, values, flags };
}
/** @throws DebugUsageError */
export function numberOption(options: DebugOptions, name: string, low: number, high: number): number | undefined {
  const text = options.values[name];
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text) || Number(text) < low || Number(text) > high) throw new DebugUsageError(`--${name} takes a number from ${low} to ${high}, not "${text}"`);
  return Number(text);
}
