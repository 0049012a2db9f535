// Privileged instructions of a PV guest, one function per instruction. Each leaves rip alone on a fault; the caller
// steps over the instruction when it was emulated.
import type { PrivilegedInstruction, PrivilegedName } from '../cpu/processor-api.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { mfnOf } from '../public/types.ts';
import { ownFrameIndex } from '../mm/address.ts';
import { newBasePointer } from '../mm/base-pointer.ts';
import { TRAP, injectGp, injectPageFault, injectTrap, injectUd } from './bounce.ts';
import { cpuid } from './cpuid.ts';
import { getDebugRegister, portBreakpoints, setDebugRegister } from './debug-registers.ts';
import { readPort } from './io-ports.ts';
import { EFLAGS, REG, setArchCr2, setUpcallMask } from './mode.ts';
import { readMsr, writeMsr } from './msr.ts';
import { CR0, CR4 } from './pv-state.ts';
import { setTaskSwitched } from './task-switched.ts';

/** What became of an instruction. `fault`: an exception has been injected, rip is the handler's. */
type Outcome = 'done' | 'gp' | 'ud' | 'fault' | 'repeat';
type Emulator = (ctx: VcpuContext, insn: PrivilegedInstruction) => Outcome;

/** The guest's time-stamp counter counts nanoseconds of system time. */
export const TSC_KHZ = 1_000_000;
const DR6_SINGLE_STEP = 0x4000n;
const LOW_32 = 0xffff_ffffn;

/** A guest kernel counts as privilege 1, its user programs as 3. */
const ioplOk = (ctx: VcpuContext): boolean => ctx.pv.iopl >= (ctx.pv.kernelMode ? 1 : 3);

function setLow(ctx: VcpuContext, reg: number, value: number, bits: number): void {
  const { gpr } = ctx.processor;
  // A 32-bit result clears the upper half; narrower ones leave the rest.
  const mask = bits === 32 ? 0xffff_ffff_ffff_ffffn : (1n << BigInt(bits)) - 1n;
  gpr[reg] = (gpr[reg]! & ~mask) | BigInt(value >>> 0);
}

const portOf = (ctx: VcpuContext, insn: PrivilegedInstruction): number => (insn.port >= 0 ? insn.port : Number(ctx.processor.gpr[REG.rdx]! & 0xffffn));

const portIn: Emulator = (ctx, insn) => {
  if (!ioplOk(ctx)) return 'gp';
  setLow(ctx, REG.rax, readPort(portOf(ctx, insn), insn.bits), insn.bits);
  return 'done';
};
const portOut: Emulator = (ctx) => (ioplOk(ctx) ? 'done' : 'gp');

/** INS and OUTS, one element per turn: a long REP stays interruptible. */
const stringIo = (isInput: boolean): Emulator => (ctx, insn) => {
  if (!ioplOk(ctx)) return 'gp';
  const { processor } = ctx;
  const { gpr } = processor;
  if (insn.rep && gpr[REG.rcx] === 0n) return 'done';
  const index = isInput ? REG.rdi : REG.rsi;
  const bytes = insn.bits / 8;
  const data = new Uint8Array(bytes).fill(0xff);
  const reached = isInput ? processor.writeVirtual(gpr[index]!, data) : processor.readVirtual(gpr[index]!, data);
  if (!reached) { injectPageFault(ctx, processor.cr2, processor.errorCode); return 'fault'; }
  const step = (processor.rflags & EFLAGS.DF) !== 0n ? -bytes : bytes;
  gpr[index] = BigInt.asUintN(64, gpr[index]! + BigInt(step));
  if (!insn.rep) return 'done';
  gpr[REG.rcx] = gpr[REG.rcx]! - 1n;
  return gpr[REG.rcx] === 0n ? 'done' : 'repeat';
};

const interruptFlag = (enable: boolean): Emulator => (ctx) => {
  if (!ioplOk(ctx)) return 'gp';
  setUpcallMask(ctx, !enable);
  return 'done';
};

const clts: Emulator = (ctx) => { setTaskSwitched(ctx, false); return 'done'; };
const ignore: Emulator = () => 'done';
const refuse: Emulator = () => 'gp';
const undefinedOpcode: Emulator = () => 'ud';

const movFromCr: Emulator = (ctx, insn) => {
  const { pv } = ctx;
  const values: Record<number, bigint> = { 0: pv.cr0, 2: pv.cr2, 3: BigInt(mfnOf(ctx.slot, pv.kernelRoot)) << 12n, 4: pv.cr4 };
  const value = values[insn.system];
  if (value === undefined) return 'ud';
  ctx.processor.gpr[insn.reg] = value;
  return 'done';
};

/** CR4 bits a guest may change; the others are fixed and writes to them are dropped, as Xen does. */
const CR4_GUEST = CR4.TSD | CR4.DE;

const movToCr: Emulator = (ctx, insn) => {
  const { pv } = ctx;
  const value = ctx.processor.gpr[insn.reg]!;
  switch (insn.system) {
    case 0:
      if (((value ^ pv.cr0) & ~CR0.TS) !== 0n) return 'gp';
      setTaskSwitched(ctx, (value & CR0.TS) !== 0n);
      return 'done';
    case 2: setArchCr2(ctx, value); return 'done';
    case 3: {
      const index = ownFrameIndex(ctx, value >> 12n);
      return newBasePointer(ctx, index) === 0 ? 'done' : 'gp';
    }
    case 4:
      pv.cr4 = (pv.cr4 & ~CR4_GUEST) | (value & CR4_GUEST);
      ctx.processor.tscExits = (value & CR4.TSD) !== 0n;
      return 'done';
    default: return 'ud';
  }
};

const movFromDr: Emulator = (ctx, insn) => {
  const value = getDebugRegister(ctx, insn.system);
  if (value === undefined) return 'ud';
  ctx.processor.gpr[insn.reg] = value;
  return 'done';
};
const movToDr: Emulator = (ctx, insn) => (setDebugRegister(ctx, insn.system, ctx.processor.gpr[insn.reg]!) === 0 ? 'done' : 'gp');

const rdmsr: Emulator = (ctx) => {
  const { gpr } = ctx.processor;
  const value = readMsr(ctx, Number(gpr[REG.rcx]! & LOW_32));
  if (value === undefined) return 'gp';
  gpr[REG.rax] = value & LOW_32;
  gpr[REG.rdx] = value >> 32n;
  return 'done';
};

const wrmsr: Emulator = (ctx) => {
  const { gpr } = ctx.processor;
  const index = Number(gpr[REG.rcx]! & LOW_32);
  const value = ((gpr[REG.rdx]! & LOW_32) << 32n) | (gpr[REG.rax]! & LOW_32);
  if (writeMsr(ctx, index, value)) return 'done';
  ctx.log(`Domain attempted WRMSR ${index.toString(16).padStart(8, '0')} to 0x${value.toString(16).padStart(16, '0')}`);
  return 'gp';
};

const readTsc = (withAux: boolean): Emulator => (ctx) => {
  if (!ctx.pv.kernelMode && (ctx.pv.cr4 & CR4.TSD) !== 0n) return 'gp';
  const { gpr } = ctx.processor;
  const now = BigInt.asUintN(64, ctx.systemTimeNs());
  gpr[REG.rax] = now & LOW_32;
  gpr[REG.rdx] = now >> 32n;
  if (withAux) gpr[REG.rcx] = BigInt(ctx.processor.tscAux);
  return 'done';
};

/** CPUID, plain or forced. */
export function emulateCpuid(ctx: VcpuContext): void {
  const { gpr } = ctx.processor;
  const result = cpuid(Number(gpr[REG.rax]! & LOW_32), Number(gpr[REG.rcx]! & LOW_32), { vcpuId: ctx.vcpuId, tscKhz: TSC_KHZ });
  gpr[REG.rax] = BigInt(result.eax);
  gpr[REG.rbx] = BigInt(result.ebx);
  gpr[REG.rcx] = BigInt(result.ecx);
  gpr[REG.rdx] = BigInt(result.edx);
}

const cpuidInstruction: Emulator = (ctx) => { emulateCpuid(ctx); return 'done'; };

/** Those that user programs may execute as well; everything else is #GP outside guest-kernel mode. */
const ANY_MODE: Partial<Record<PrivilegedName, Emulator>> = {
  in: portIn, out: portOut, ins: stringIo(true), outs: stringIo(false), cli: interruptFlag(false), sti: interruptFlag(true),
  rdtsc: readTsc(false), rdtscp: readTsc(true), cpuid: cpuidInstruction,
  xgetbv: undefinedOpcode, xsetbv: undefinedOpcode, vmcall: undefinedOpcode, monitor: undefinedOpcode, mwait: undefinedOpcode,
};
const KERNEL_MODE: Partial<Record<PrivilegedName, Emulator>> = {
  clts, invd: refuse, wbinvd: ignore, mov_from_cr: movFromCr, mov_to_cr: movToCr, mov_from_dr: movFromDr, mov_to_dr: movToDr, rdmsr, wrmsr,
};

const PORT_ACCESS: ReadonlySet<PrivilegedName> = new Set(['in', 'out', 'ins', 'outs']);

/** EXIT.privileged: emulates the instruction at rip or injects what the guest deserves. */
export function emulatePrivileged(ctx: VcpuContext): void {
  const insn = ctx.processor.privileged;
  const emulator = ANY_MODE[insn.name] ?? (ctx.pv.kernelMode ? KERNEL_MODE[insn.name] : undefined) ?? refuse;
  const { processor } = ctx, at = processor.rip, port = portOf(ctx, insn), ports = PORT_ACCESS.has(insn.name);
  const outcome = emulator(ctx, insn);
  switch (outcome) {
    case 'done': case 'repeat': {
      if (outcome === 'done') processor.rip = BigInt.asUintN(64, at + BigInt(insn.length));
      // The traps behind an instruction that ran here instead of in the processor.
      const step = outcome === 'done' && (processor.rflags & EFLAGS.TF) !== 0n ? DR6_SINGLE_STEP : 0n;
      const causes = step | (ports ? portBreakpoints(ctx, port, insn.bits / 8) : 0n);
      if (causes === 0n) return;
      processor.setDebugRegister(6, processor.debug[6]! | causes);
      injectTrap(ctx, TRAP.debug, -1);
      return;
    }
    case 'gp': injectGp(ctx); return;
    case 'ud': injectUd(ctx); return;
    case 'fault': return;
  }
}
