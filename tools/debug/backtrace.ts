// `xenolith backtrace`: where a domain's vCPUs are, and how they may have come there.
import { runFolder } from '../../dom0/api/run-folder.ts';
import type { StackView } from '../../dom0/debug/stack.ts';
import { Client } from '../xl/client.ts';
import { numberOption, parseDebugOptions } from './options.ts';
import { readSymbols, type SymbolTable } from './symbols.ts';

export const BACKTRACE_USAGE = `Usage: xenolith backtrace DOMAIN [--symbols FILE] [--vcpu N] [--registers]

Prints where each virtual CPU is and the return addresses on its kernel stack. Old frames may lie among them: the
stack is read for what points behind a call, without unwind tables. The domain pauses for the moment.

  --symbols FILE   System.map, a copy of the guest's /proc/kallsyms (which knows modules), or a vmlinux with symbols
  --vcpu N         this one only
  --registers      the general registers too
`;
const REGISTERS_PER_LINE = 3;

/** @returns the exit code */
export async function runBacktrace(argv: readonly string[]): Promise<number> {
  const options = parseDebugOptions(argv, ['symbols', 'vcpu'], ['registers']);
  if (!options) { process.stdout.write(BACKTRACE_USAGE); return 0; }
  const vcpu = numberOption(options, 'vcpu', 0, 31), symbols = options.values['symbols'] === undefined ? undefined : readSymbols(options.values['symbols']);
  const views = (await new Client(runFolder().socket).stacks(options.domain)).filter(view => vcpu === undefined || view.vcpu === vcpu);
  if (views.length === 0) throw new Error(`the domain has no vCPU ${vcpu}`);
  process.stdout.write(views.map(view => formatStack(view, symbols, options.flags.has('registers'))).join('\n'));
  return 0;
}

export function formatStack(view: StackView, symbols: SymbolTable | undefined, withRegisters: boolean): string {
  if (view.rip === undefined) return `vCPU ${view.vcpu}: not brought up\n`;
  const named = (address: string, back = 0n): string => {
    const name = symbols?.nameOf(BigInt(`0x${address}`) - back);
    return name === undefined ? `<${address}>` : `<${address}> ${name}`;
  };
  const lines = [`vCPU ${view.vcpu}: guest ${view.kernelMode ? 'kernel' : 'user'}, rsp ${view.rsp}`, `  ${named(view.rip)}`];
  if (withRegisters) {
    const entries = Object.entries(view.registers ?? {});
    for (let i = 0; i < entries.length; i += REGISTERS_PER_LINE) lines.push(`    ${entries.slice(i, i + REGISTERS_PER_LINE).map(([name, value]) => `${name.padStart(6)} ${value}`).join('  ')}`);
  }
  for (const { address } of view.calls ?? []) lines.push(`  ? ${named(address)}`);
  return `${lines.join('\n')}\n`;
}
