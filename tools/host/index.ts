// The `xenolith` command.
import { CaptureUsageError } from '../capture/options.ts';
import { DebugUsageError } from '../debug/options.ts';
import { LinkUsageError } from '../link/link.ts';
import { ManageUsageError } from '../manage/arguments.ts';
import { TokenUsageError } from '../token/token.ts';
import { completionScript } from './completion.ts';
import { HOST_USAGE, HostUsageError } from './host-options.ts';
import { parseStartOptions, START_USAGE, UsageError } from './start-options.ts';

interface HostCommand { readonly name: string; readonly summary: string; readonly run: (argv: readonly string[]) => Promise<number>; /** What its --help prints. */ readonly usage?: () => Promise<string> }

const COMMANDS: readonly HostCommand[] = [
  { name: 'start', summary: 'boot a domain with Debian\'s kernel and attach its console', usage: async () => START_USAGE, run: runStart },
  // Threads of guests that would not end must not hold the process.
  { name: 'host', summary: 'run the host in the foreground; Ctrl-C shuts the guests down, twice ends at once', usage: async () => HOST_USAGE, run: async argv => process.exit(await (await import('./host.ts')).runHost(argv)) },
  { name: 'gdb', summary: 'let gdb attach to a domain', usage: async () => (await import('../debug/gdb.ts')).GDB_USAGE, run: async argv => (await import('../debug/gdb.ts')).runGdb(argv) },
  { name: 'backtrace', summary: 'where the virtual CPUs of a domain are, with symbols', usage: async () => (await import('../debug/backtrace.ts')).BACKTRACE_USAGE, run: async argv => (await import('../debug/backtrace.ts')).runBacktrace(argv) },
  { name: 'perf', summary: 'where a domain\'s time goes: exits, hypercalls, guest functions', usage: async () => (await import('../debug/perf.ts')).PERF_USAGE, run: async argv => (await import('../debug/perf.ts')).runPerf(argv) },
  { name: 'trace', summary: 'what a domain has done lately: instructions, hypercalls, events', usage: async () => (await import('../debug/trace.ts')).TRACE_USAGE, run: async argv => (await import('../debug/trace.ts')).runTrace(argv) },
  { name: 'capture', summary: 'frames of a bridge or an interface, as a pcap file', usage: async () => (await import('../capture/options.ts')).CAPTURE_USAGE, run: async argv => (await import('../capture/capture.ts')).runCapture(argv) },
  { name: 'link', summary: 'take the cable out of a domain\'s interface, or put it back', usage: async () => (await import('../link/link.ts')).LINK_USAGE, run: async argv => (await import('../link/link.ts')).runLink(argv) },
  { name: 'token', summary: 'who may call the host over TCP: create, list, revoke', usage: async () => (await import('../token/token.ts')).TOKEN_USAGE, run: async argv => (await import('../token/token.ts')).runToken(argv) },
  { name: 'definition', summary: 'domains that the host keeps: define, list, set, start, undefine', usage: async () => (await import('../manage/definition.ts')).DEFINITION_USAGE, run: async argv => (await import('../manage/definition.ts')).runDefinition(argv) },
  { name: 'operation', summary: 'long work of the host: list, show, wait, cancel', usage: async () => (await import('../manage/operation.ts')).OPERATION_USAGE, run: async argv => (await import('../manage/operation.ts')).runOperation(argv) },
  { name: 'audit', summary: 'who changed what: show, verify', usage: async () => (await import('../manage/audit.ts')).AUDIT_USAGE, run: async argv => (await import('../manage/audit.ts')).runAudit(argv) },
  { name: 'bash-completion', summary: 'a script for bash: source <(xenolith bash-completion)', run: async () => { process.stdout.write(await completion()); return 0; } },
  { name: 'help', summary: 'this help', run: async () => { process.stdout.write(usage()); return 0; } },
];

const usage = (): string => `Usage: xenolith <command> [options]\n\n${COMMANDS.map(c => `  ${c.name.padEnd(15)} ${c.summary}`).join('\n')}\n\nDomains are managed with xl: "xl help".\n`;

const completion = async (): Promise<string> => completionScript(await Promise.all(COMMANDS.map(async ({ name, usage: told }) => ({ name, usage: await told?.() ?? '' }))));

async function runStart(argv: readonly string[]): Promise<number> {
  const options = parseStartOptions(argv);
  if (options.help) { process.stdout.write(START_USAGE); return 0; }
  return (await import('./start.ts')).start(options);
}

const [name, ...argv] = process.argv.slice(2);
const command = COMMANDS.find(c => c.name === (name === undefined || name === '--help' || name === '-h' ? 'help' : name));
if (!command) { process.stderr.write(`xenolith: there is no command "${name}"\n\n${usage()}`); process.exit(2); }
process.stdout.on('error', error => { if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0); throw error; });
try {
  process.exitCode = await command.run(argv);
} catch (error) {
  const hint = error instanceof UsageError ? `\n${START_USAGE}` : error instanceof DebugUsageError || error instanceof HostUsageError || error instanceof CaptureUsageError || error instanceof LinkUsageError || error instanceof TokenUsageError || error instanceof ManageUsageError ? `See "xenolith ${name} --help".\n` : '';
  process.stderr.write(`xenolith: ${error instanceof Error ? error.message : String(error)}\n${hint}`);
  process.exitCode = hint === '' ? 1 : 2;
}
