// A guest's kernel messages beside those of the same kernel on a real Xen 4.17 (recorded-dmesg.txt: 256 MB, one disk,
// one interface), with each line that may differ, and why.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Difference {
  readonly why: string;
  /** Lines of the recording that are other or missing here. */
  readonly recorded?: readonly RegExp[];
  /** Lines here that the recording does not have. */
  readonly here?: readonly RegExp[];
}

const CLOCKS = [/^tsc: Detected [\d.]+ MHz processor$/, /^clocksource: tsc(-early)?: mask: /, /^Calibrating delay loop \(skipped\)/];
const SIZES = [/^RAMDISK: \[mem /, /^Memory: \d+K\/261756K available/, /^Freeing initrd memory: /];
const MOMENTS = [/^audit: type=2000 audit\(/, /^sched_clock: Marking stable /];

export const DIFFERENCES: readonly Difference[] = [
  { why: 'the time-stamp counter counts nanoseconds: 1 GHz, and what is computed from it', recorded: CLOCKS, here: CLOCKS },
  { why: 'another initrd', recorded: SIZES, here: SIZES },
  { why: 'the moment and speed of the boot', recorded: [...MOMENTS, /^random: crng init done$/], here: [...MOMENTS, /^random: crng init done$/] },
  { why: '2-level event channels', recorded: [/^xen:events: Using FIFO-based ABI$/], here: [/^xen:events: Using 2-level ABI$/] },
  { why: 'FXSAVE for XSAVE, and with it the size of signal frames', recorded: [/^x86\/fpu: (Supporting XSAVE|xstate_offset|Enabled xstate)/, /^signal: max sigframe size: 1776$/], here: [/^x86\/fpu: x87 FPU will use FXSAVE$/, /^signal: max sigframe size: 1440$/] },
  { why: 'a processor that does not speculate says so: no retpolines, and mitigations that cost nothing',
    recorded: [/^Spectre V2 : Mitigation: Retpolines$/, /^Spectre V2 : Spectre v2 \/ SpectreRSB: Filling RSB/, /^Speculative Store Bypass: Vulnerable$/],
    here: [/^Spectre V2 : Mitigation: Enhanced \/ Automatic IBRS$/, /^Spectre V2 : Enabling IBPB for BPF$/, /^Spectre V2 : mitigation: Enabling conditional Indirect Branch Prediction Barrier$/] },
  { why: 'another model of processor, without counters, power states and machine-check banks', recorded: [/^Performance Events: PMU not available/], here: [/^Performance Events: unsupported p6 CPU model 26/, /^intel_pstate: CPU model not supported$/, /^mce: Unable to init MCE device \(rc: -5\)$/] },
  { why: 'netback offers no XDP headroom', recorded: [/^xen_netfront: backend supports XDP headroom$/] },
  { why: 'the recorded guest mounts its disk', recorded: [/^EXT4-fs \(xvda\): mounted filesystem/] },
  { why: 'a host that was busy with something else for a second', here: [/^clocksource: Long readout interval, skipping watchdog check/] },
];

/** Times are cut off, and who built the kernel. */
const linesOf = (text: string): string[] => text.split('\n').map(line => line.replace(/^\[ *\d+\.\d+\] /, '').replace(/^(Linux version \S+) \([^)]*\)/, '$1 (BUILDER)').trimEnd()).filter(line => line !== '');
const recorded = linesOf(readFileSync(join(import.meta.dirname, 'recorded-dmesg.txt'), 'utf8'));

/** Whether these are messages of the kernel that was recorded: others have others. */
export const isRecordedKernel = (dmesg: string): boolean => linesOf(dmesg)[0] === recorded[0];
/** Lines that differ without an explanation, `-` the recorded ones, `+` those here. */
export function unexplained(dmesg: string): string[] {
  const here = linesOf(dmesg);
  const left = (lines: readonly string[], others: readonly string[], side: 'recorded' | 'here'): string[] =>
    lines.filter(line => !others.includes(line) && !DIFFERENCES.some(d => d[side]?.some(pattern => pattern.test(line))));
  return [...left(recorded, here, 'recorded').map(line => `- ${line}`), ...left(here, recorded, 'here').map(line => `+ ${line}`)];
}
