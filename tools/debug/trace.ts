// `xenolith trace`: what a domain has done lately.
import { runFolder } from '../../dom0/api/run-folder.ts';
import type { InstructionView } from '../../dom0/debug/instructions.ts';
import { Client } from '../xl/client.ts';
import { DebugUsageError, numberOption, parseDebugOptions } from './options.ts';
import { readSymbols, type SymbolTable } from './symbols.ts';

export const TRACE_USAGE = `Usage: xenolith trace DOMAIN [--hypercalls | --events | --instructions] [--last N] [--symbols FILE]
       xenolith trace DOMAIN [--instructions] --on | --off

Switches the trace of a domain on or off, and prints the last of it, oldest first (100 lines unless told otherwise).

  --hypercalls     hypercalls and their results    } one switch for the two: seconds, vCPU, what happened
  --events         events, VIRQs, runstates        }
  --instructions   every instruction: vCPU, k(ernel) or u(ser), address, digest of the registers before it. While it is
                   on the domain runs one instruction at a time, a hundred times slower or more. With --on, --last says
                   how many are remembered
  --symbols FILE   names for addresses: System.map, a copy of /proc/kallsyms, or a vmlinux with symbols
`;

const DEFAULT_LAST = 100, MAX_LAST = 65536;

/** @returns the exit code */
export async function runTrace(argv: readonly string[]): Promise<number> {
  const options = parseDebugOptions(argv, ['last', 'symbols'], ['instructions', 'hypercalls', 'events', 'on', 'off']);
  if (!options) { process.stdout.write(TRACE_USAGE); return 0; }
  const { flags, domain } = options, last = numberOption(options, 'last', 1, MAX_LAST), client = new Client(runFolder().socket);
  const instructions = flags.has('instructions'), on = flags.has('on');
  if (on && flags.has('off')) throw new DebugUsageError('--on or --off, not both');
  if (instructions && (flags.has('hypercalls') || flags.has('events'))) throw new DebugUsageError('--instructions by itself: it is another trace');
  if (on || flags.has('off')) { await client.setTrace(domain, instructions ? { instructions: on ? last ?? true : false } : { calls: on }); return 0; }
  if (instructions) {
    const symbols = options.values['symbols'] === undefined ? undefined : readSymbols(options.values['symbols']);
    process.stdout.write((await client.instructions(domain, last ?? DEFAULT_LAST)).map(view => formatInstruction(view, symbols)).join(''));
    return 0;
  }
  const kind = flags.has('hypercalls') === flags.has('events') ? 'all' : flags.has('events') ? 'events' : 'hypercalls';
  process.stdout.write((await client.calls(domain, kind, last ?? DEFAULT_LAST)).map(line => `${line}\n`).join(''));
  return 0;
}

export function formatInstruction({ vcpu, rip, digest, kernelMode }: InstructionView, symbols: SymbolTable | undefined): string {
  const name = symbols?.nameOf(BigInt(`0x${rip}`));
  return `v${vcpu} ${kernelMode ? 'k' : 'u'} ${rip} ${digest}${name === undefined ? '' : ` ${name}`}\n`;
}
