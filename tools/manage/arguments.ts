// Verbs of the commands that manage what the host keeps: `xenolith definition start web --paused`.
import { parseArgs } from 'node:util';
import { table } from './columns.ts';

export class ManageUsageError extends Error {}

export interface Verb {
  readonly name: string;
  /** Arguments and options as help shows them. */
  readonly usage: string;
  readonly summary: string;
  /** Fewest and most words behind the verb. */
  readonly words: readonly [fewest: number, most: number];
  /** Options that take a value, and those that take none. */
  readonly values?: readonly string[]; readonly flags?: readonly string[];
  /** @returns the exit code */
  readonly run: (given: Given) => Promise<number> | number;
}
export interface Given { readonly words: readonly string[]; value(name: string): string | undefined; flag(name: string): boolean }

export function verbUsage(command: string, verbs: readonly Verb[], more: string): string {
  return `Usage: xenolith ${command} <verb> ...\n\n${table(verbs.map(({ name, usage, summary }) => [`  ${name} ${usage}`, summary]))}\n${more}\n`;
}

/** @returns the exit code @throws ManageUsageError */
export async function runVerb(argv: readonly string[], usage: string, verbs: readonly Verb[]): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) { process.stdout.write(usage); return 0; }
  const verb = verbs.find(({ name }) => name === argv[0]);
  if (!verb) throw new ManageUsageError(`${argv[0] === undefined ? 'a verb is missing' : `there is no verb "${argv[0]}"`}: ${verbs.map(({ name }) => name).join(', ')}`);
  return verb.run(given(verb, argv.slice(1)));
}

function given({ name, usage, words: [fewest, most], values: takesValue = [], flags = [] }: Verb, argv: readonly string[]): Given {
  const { positionals: words, values } = (() => {
    const options = Object.fromEntries([...takesValue.map(option => [option, { type: 'string' }] as const), ...flags.map(option => [option, { type: 'boolean' }] as const)]);
    try { return parseArgs({ args: [...argv], allowPositionals: true, options }) as { positionals: string[]; values: Record<string, string | boolean | undefined> }; } catch (error) { throw new ManageUsageError((error as Error).message); }
  })();
  if (words.length < fewest || words.length > most) throw new ManageUsageError(`${name} takes ${usage || 'nothing else'}`);
  return { words, value: option => values[option] as string | undefined, flag: option => values[option] === true };
}

/** @throws ManageUsageError */
export function numberOf(text: string | undefined, what: string, usual: number): number {
  if (text === undefined) return usual;
  if (!/^\d{1,15}$/.test(text)) throw new ManageUsageError(`${what} is a number, not "${text}"`);
  return Number(text);
}
