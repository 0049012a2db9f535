// xl: finds the command, parses its options, runs it and turns errors into stderr lines and exit codes.
import { runFolder } from '../../dom0/api/run-folder.ts';
import { endIdleHost, ensureHost } from '../host/ensure-host.ts';
import { ApiError, Client } from './client.ts';
import { CommandError, parseArguments, type Command, type Context } from './command.ts';
import { helpCommand, helpList } from './help.ts';
import { COMMANDS } from './table.ts';

export interface XlIo { out(text: string): void; err(text: string): void; client?(): Promise<Client> }

const EXIT_FAILURE = 1, EXIT_BAD_OPTION = 2;
const GLOBAL_FLAGS = new Set(['v', 'f', 'N', 't', 'T']);

/** @param argv arguments after `xl` */
export async function xl(argv: readonly string[], io: XlIo): Promise<number> {
  let at = 0, force = false;
  for (; argv[at]?.startsWith('-'); at++) {
    const letters = argv[at] === '--help' ? 'h' : argv[at]!.slice(1);
    if (letters === 'h') { io.out(helpList(COMMANDS)); return 0; }
    if (letters === '' || [...letters].some(l => !GLOBAL_FLAGS.has(l))) { io.err(`unknown global option ${argv[at]}\n`); return EXIT_BAD_OPTION; }
    force ||= letters.includes('f');
  }
  const name = argv[at];
  if (name === undefined) { io.out(helpList(COMMANDS)); return EXIT_FAILURE; }
  const command = commandNamed(name);
  if (!command) { io.err('command not implemented\n'); return EXIT_FAILURE; }
  // A host that this command started does not outlive its failure.
  let begun = false;
  const connect = io.client ?? (async () => new Client((await ensureHost(runFolder(), text => { begun = true; io.err(text); })).socket));
  const code = await runReporting(command, argv.slice(at + 1), force, io, connect);
  if (code !== 0 && begun) await endIdleHost(runFolder());
  return code;
}

/** What goes wrong becomes a line on stderr and an exit code. */
async function runReporting(command: Command, argv: readonly string[], force: boolean, io: XlIo, client: Context['client']): Promise<number> {
  try {
    return await runCommand(command, argv, force, io, client);
  } catch (error) {
    if (error instanceof CommandError) { io.err(error.message); if (error.exitCode === EXIT_BAD_OPTION) io.err(helpCommand(command)); return error.exitCode; }
    io.err(error instanceof ApiError ? `xl: error: ${error.message} (${error.code})\n` : `xl: error: ${error instanceof Error ? error.message : String(error)}\n`);
    return EXIT_FAILURE;
  }
}

/** A full name, or an abbreviation that fits one command only. */
function commandNamed(name: string): Command | undefined {
  const exact = COMMANDS.find(c => c.name === name);
  if (exact) return exact;
  const starting = COMMANDS.filter(c => c.name.startsWith(name));
  return starting.length === 1 ? starting[0] : undefined;
}

async function runCommand(command: Command, argv: readonly string[], force: boolean, io: XlIo, client: Context['client']): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.help) { io.out(helpCommand(command)); return 0; }
  const requires = command.requires ?? 0;
  if (parsed.args.length < requires) throw new CommandError(`'xl ${command.name}' requires at least ${requires} argument${requires > 1 ? 's' : ''}.\n\n`, EXIT_BAD_OPTION);
  const context: Context = {
    options: parsed.options, args: parsed.args, force, out: io.out, err: io.err, client,
  };
  return command.run(context);
}
