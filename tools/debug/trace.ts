// `xenolith trace`: what a domain has done lately.
import { runFolder } from '../../dom0/api/run-folder.ts';
import type { InstructionView } from '../../dom0/debug/instructions.ts';
import { Client } from '../xl/client.ts';
import { DebugUsageError, numberOption, parseDebugOptions } from './options.ts';
import { readSymbols, type SymbolTable } from './symbols.ts';

const DEFAULT_LAST = 100, MAX_LAST = 65536;

/** @returns the exit code */
export async function runTrace(argv: readonly string[]): Promise<number> {
  const options = parseDebugOptions(argv, ['last', 'symbols'], ['instructions', 'on', 'off']);
  if (!options) { process.stdout.write(TRACE_USAGE); return 0; }
  const { flags, domain } = options, last = numberOption(options, 'last', 1, MAX_LAST), client = new Client(runFolder().socket);
  if (flags.has('on') && flags.has('off')) throw new DebugUsageError('--on or --off, not both');
  if (flags.has('on') || flags.has('off')) { await client.setTrace(domain, { instructions: flags.has('off') ? false : last ?? true }); return 0; }
  const symbols = options.values['symbols'] === undefined ? undefined : readSymbols(options.values['symbols']);
  const views = await client.instructions(domain, last ?? DEFAULT_LAST);
  process.stdout.write(views.map(view => formatInstruction(view, symbols)).join(''));
  return 0;
}
export const TRACE_USAGE = '';
export function formatInstruction({ vcpu, rip, digest, kernelMode }: InstructionView, symbols: SymbolTable | undefined): string {
  const name = symbols?.nameOf(BigInt(`0x${rip}`));
  return `v${vcpu} ${kernelMode ? 'k' : 'u'} ${rip} ${digest}${name === undefined ? '' : ` ${name}`}\n`;
}
