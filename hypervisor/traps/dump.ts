// Register and stack dumps in the form Xen prints them, for the hypervisor's console ring.
import { SEG } from '../cpu/processor-api.ts';
import { mfnOf } from '../public/types.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';

const hex = (value: bigint | number, digits: number): string => value.toString(16).padStart(digits, '0');
const STACK_LINES = 8, WORDS_PER_LINE = 4;

const ROWS: readonly (readonly [string, number])[][] = [
  [['rax', 0], ['rbx', 3], ['rcx', 1]],
  [['rdx', 2], ['rsi', 6], ['rdi', 7]],
  [['rbp', 5], ['rsp', 4], ['r8', 8]],
  [['r9', 9], ['r10', 10], ['r11', 11]],
  [['r12', 12], ['r13', 13], ['r14', 14]],
];

function rootOf(ctx: VcpuContext): bigint {
  const root = ctx.pv.kernelMode ? ctx.pv.kernelRoot : ctx.pv.userRoot;
  return root < 0 ? 0n : BigInt(mfnOf(ctx.slot, root)) << 12n;
}

/** The guest's words from rsp upward, as far as they are mapped. */
function stackLines(ctx: VcpuContext): string[] {
  const lines: string[] = [];
  const sp = ctx.processor.gpr[4]! & ~7n;
  for (let line = 0; line < STACK_LINES; line++) {
    const words: string[] = [];
    for (let i = 0; i < WORDS_PER_LINE; i++) {
      const word = ctx.processor.read64(BigInt.asUintN(64, sp + BigInt((line * WORDS_PER_LINE + i) * 8)));
      if (word === undefined) return words.length ? [...lines, `  ${words.join(' ')} Fault while accessing guest memory.`] : [...lines, '  Fault while accessing guest memory.'];
      words.push(hex(word, 16));
    }
    lines.push(`  ${words.join(' ')}`);
  }
  return lines;
}

/** What Xen prints for a vCPU ('0' and 'd' debug keys, domain crashes): registers, then the guest's stack. */
export function dumpRegisters(ctx: VcpuContext): string[] {
  const { processor: p, pv } = ctx;
  const named = (name: string, n: number): string => `${name}: ${hex(p.gpr[n]!, 16)}`;
  const segment = (s: number): string => hex(p.selectors[s]!, 4);
  return [
    `----[ Xenolith  x86_64 ]----`,
    `RIP:    ${segment(SEG.cs)}:[<${hex(p.rip, 16)}>]`,
    `RFLAGS: ${hex(p.rflags, 16)}   EM: ${pv.kernelMode ? 0 : 1}   CONTEXT: pv guest (d${ctx.domid}v${ctx.vcpuId}) ${pv.kernelMode ? 'kernel' : 'user'}`,
    ...ROWS.map((row) => row.map(([name, n]) => named(name.padEnd(3), n)).join('   ')),
    `${named('r15', 15)}   cr0: ${hex(pv.cr0, 16)}   cr4: ${hex(pv.cr4, 16)}`,
    `cr3: ${hex(rootOf(ctx), 16)}   cr2: ${hex(pv.cr2, 16)}`,
    `fsb: ${hex(p.fsBase, 16)}   gsb: ${hex(p.gsBase, 16)}   gss: ${hex(pv.kernelMode ? pv.gsBaseUser : pv.gsBaseKernel, 16)}`,
    `ds: ${segment(SEG.ds)}   es: ${segment(SEG.es)}   fs: ${segment(SEG.fs)}   gs: ${segment(SEG.gs)}   ss: ${segment(SEG.ss)}   cs: ${segment(SEG.cs)}`,
    `Guest stack trace from rsp=${hex(p.gpr[4]!, 16)}:`,
    ...stackLines(ctx),
  ];
}

/** Ends the domain: reason and registers go to the console ring first. */
export function domainCrash(ctx: VcpuContext, reason: string): void {
  ctx.log(`domain_crash called: ${reason}`);
  for (const line of dumpRegisters(ctx)) ctx.log(line);
  ctx.crash(reason);
}

