// The shape of a command, and what every command gets.
import type { Client } from './client.ts';

export interface Option {
  /** Letter without dash. */
  readonly short?: string;
  /** Word without dashes. */
  readonly long?: string;
  /** Name of the argument in help; absent for a flag. */
  readonly argument?: string;
  readonly summary: string;
}

export interface Context {
  /** Connects, starting a host in the background if none runs. */
  client(): Promise<Client>;
  readonly options: Readonly<Record<string, string | true>>;
  readonly args: readonly string[];
  /** Global -f. */
  readonly force: boolean;
  out(text: string): void;
  err(text: string): void;
}

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** Arguments as help shows them. */
  readonly usage: string;
  readonly options: readonly Option[];
  /** Fewest positional arguments. */
  readonly requires?: number;
  /** @returns xl's exit code */
  readonly run: (context: Context) => Promise<number>;
}

/** Printed to stderr as it is; ends xl with the code. */
export class CommandError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode = 1) { super(message); this.exitCode = exitCode; }
}

/** The key under which an option is found in `options`: its long name, else its letter. */
export const optionKey = (option: Option): string => option.long ?? option.short ?? '';

export interface ParsedArguments { readonly options: Record<string, string | true>; readonly args: string[]; readonly help: boolean }

/**
 * getopt's rules: short flags may be bundled, `-ofoo` and `--opt=foo` carry an argument, `--` ends options.
 * @throws CommandError exit code 2
 */
export function parseArguments(command: Command, argv: readonly string[]): ParsedArguments {
  const options: Record<string, string | true> = {}, args: string[] = [];
  const unknown = (text: string): never => { throw new CommandError(`option \`${text}' not supported.\n`, 2); };
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === '--') { args.push(...argv.slice(i + 1)); break; }
    if (word === '-h' || word === '--help') return { options, args, help: true };
    if (!word.startsWith('-') || word === '-') { args.push(word); continue; }
    const argument = (option: Option, given: string | undefined, shown: string): void => {
      if (option.argument === undefined) { if (given !== undefined) unknown(word); options[optionKey(option)] = true; return; }
      const value = given ?? argv[++i];
      if (value === undefined) throw new CommandError(`option \`${shown}' requires an argument.\n`, 2);
      options[optionKey(option)] = value;
    };
    if (word.startsWith('--')) {
      const [name, ...rest] = word.slice(2).split('=');
      const option = command.options.find(o => o.long === name) ?? unknown(word);
      argument(option, rest.length > 0 ? rest.join('=') : undefined, `--${name}`);
      continue;
    }
    for (let at = 1; at < word.length; at++) {
      const letter = word[at]!, option = command.options.find(o => o.short === letter) ?? unknown(letter);
      if (option.argument === undefined) { argument(option, undefined, `-${letter}`); continue; }
      argument(option, at + 1 < word.length ? word.slice(at + 1) : undefined, `-${letter}`);
      break;
    }
  }
  return { options, args, help: false };
}
