// Emulated page-table writes: a guest kernel that writes to an L1 table through its read-only mapping has the write
// checked and done for it, as if it had asked by hypercall.
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { PAGE_BYTES } from '../cpu/layout.ts';
import { PFEC } from '../cpu/processor-api.ts';
import { EAGAIN } from '../public/errno.ts';
import { PGT } from '../mm/frame-table.ts';
import { spaceOf } from '../mm/flush.ts';
import type { Space } from '../mm/space.ts';
import { withPageLock } from '../mm/space.ts';
import { modEntry, tableLevel } from '../mm/update.ts';
import { findL1 } from '../mm/walk.ts';
import { REG } from './mode.ts';
import type { DecodedWrite } from './write-decoder.ts';
import { decodeWrite } from './write-decoder.ts';

const MAX_INSTRUCTION = 15;
const ARITHMETIC_FLAGS = 0x8d5n; // CF PF AF ZF SF OF
const FLAG = { CF: 1n, PF: 4n, AF: 0x10n, ZF: 0x40n, SF: 0x80n, OF: 0x800n } as const;
const DF = 0x400n;

const maskOf = (size: number): bigint => (1n << BigInt(size * 8)) - 1n;

function evenParity(value: bigint): boolean {
  let byte = Number(value & 0xffn);
  byte ^= byte >> 4; byte ^= byte >> 2; byte ^= byte >> 1;
  return (byte & 1) === 0;
}

function resultFlags(result: bigint, size: number): bigint {
  const sign = 1n << BigInt(size * 8 - 1);
  return (result === 0n ? FLAG.ZF : 0n) | ((result & sign) !== 0n ? FLAG.SF : 0n) | (evenParity(result) ? FLAG.PF : 0n);
}

/** Flags of a - b = result or a + b = result. */
function arithmeticFlags(a: bigint, b: bigint, result: bigint, size: number, subtract: boolean): bigint {
  const sign = 1n << BigInt(size * 8 - 1);
  const carry = subtract ? a < b : result < a;
  const overflow = ((subtract ? (a ^ b) & (a ^ result) : (a ^ result) & (b ^ result)) & sign) !== 0n;
  return resultFlags(result, size) | (carry ? FLAG.CF : 0n) | (overflow ? FLAG.OF : 0n) | (((a ^ b ^ result) & 0x10n) !== 0n ? FLAG.AF : 0n);
}

/** What a decoded write does: memory, registers and flags after it. `undefined` value: memory stays as it is. */
interface Effect {
  value: bigint;
  flags: bigint | undefined;
  /** Registers with their new contents, at the operand's size. */
  registers: [number, bigint][];
}

function readRegister(ctx: VcpuContext, write: DecodedWrite): bigint {
  const { gpr } = ctx.processor;
  const value = write.highByte ? gpr[write.reg - 4]! >> 8n : gpr[write.reg]!;
  return value & maskOf(write.size);
}

function setRegister(ctx: VcpuContext, reg: number, value: bigint, size: number, highByte: boolean): void {
  const { gpr } = ctx.processor;
  if (highByte) gpr[reg - 4] = (gpr[reg - 4]! & ~0xff00n) | (value << 8n);
  else if (size >= 4) gpr[reg] = value;
  else gpr[reg] = (gpr[reg]! & ~maskOf(size)) | value;
}

/** CF for BTS and kin: the old bit; the other flags stay. */
function bitEffect(ctx: VcpuContext, write: DecodedWrite, old: bigint, source: bigint): Effect {
  const bit = 1n << (source & BigInt(write.size * 8 - 1));
  const value = write.kind === 'bts' ? old | bit : write.kind === 'btr' ? old & ~bit : old ^ bit;
  const flags = (ctx.processor.rflags & ARITHMETIC_FLAGS & ~FLAG.CF) | ((old & bit) !== 0n ? FLAG.CF : 0n);
  return { value, flags, registers: [] };
}

function compareExchange8(ctx: VcpuContext, old: bigint): Effect {
  const { gpr, rflags } = ctx.processor;
  const low = 0xffff_ffffn;
  const expected = ((gpr[REG.rdx]! & low) << 32n) | (gpr[REG.rax]! & low);
  const others = rflags & ARITHMETIC_FLAGS & ~FLAG.ZF;
  if (expected !== old) return { value: old, flags: others, registers: [[REG.rax, old & low], [REG.rdx, old >> 32n]] };
  return { value: ((gpr[REG.rcx]! & low) << 32n) | (gpr[REG.rbx]! & low), flags: others | FLAG.ZF, registers: [] };
}

function effectOf(ctx: VcpuContext, write: DecodedWrite, old: bigint): Effect | undefined {
  const mask = maskOf(write.size);
  const source = write.reg >= 0 ? readRegister(ctx, write) : write.immediate & mask;
  const plain = (value: bigint, flags?: bigint): Effect => ({ value, flags, registers: [] });
  const rax = ctx.processor.gpr[REG.rax]! & mask;
  switch (write.kind) {
    case 'mov': return plain(source);
    case 'xchg': return { value: source, flags: undefined, registers: [[write.reg, old]] };
    case 'or': return plain(old | source, resultFlags(old | source, write.size));
    case 'and': return plain(old & source, resultFlags(old & source, write.size));
    case 'xor': return plain(old ^ source, resultFlags(old ^ source, write.size));
    case 'add': { const sum = (old + source) & mask; return plain(sum, arithmeticFlags(old, source, sum, write.size, false)); }
    case 'sub': { const rest = (old - source) & mask; return plain(rest, arithmeticFlags(old, source, rest, write.size, true)); }
    case 'xadd': { const sum = (old + source) & mask; return { value: sum, flags: arithmeticFlags(old, source, sum, write.size, false), registers: [[write.reg, old]] }; }
    case 'inc': case 'dec': {
      const result = (write.kind === 'inc' ? old + 1n : old - 1n) & mask;
      const flags = arithmeticFlags(old, 1n, result, write.size, write.kind === 'dec');
      return plain(result, (flags & ~FLAG.CF) | (ctx.processor.rflags & FLAG.CF));
    }
    case 'not': return plain(~old & mask);
    case 'neg': { const result = -old & mask; return plain(result, arithmeticFlags(0n, old, result, write.size, true)); }
    case 'cmpxchg': {
      const flags = arithmeticFlags(rax, old, (rax - old) & mask, write.size, true);
      return rax === old ? plain(source, flags) : { value: old, flags, registers: [[REG.rax, old]] };
    }
    case 'cmpxchg8b': return compareExchange8(ctx, old);
    case 'bts': case 'btr': case 'btc': return bitEffect(ctx, write, old, source);
    case 'stos': return plain(rax);
    case 'movs': {
      const data = new Uint8Array(8);
      if (!ctx.processor.readVirtual(ctx.processor.gpr[REG.rsi]!, data.subarray(0, write.size))) return undefined;
      return plain(new DataView(data.buffer).getBigUint64(0, true));
    }
  }
}

/** Index registers and count of a string store after one element; true when the instruction is not finished. */
function stepString(ctx: VcpuContext, write: DecodedWrite): boolean {
  const { gpr, rflags } = ctx.processor;
  const step = BigInt((rflags & DF) !== 0n ? -write.size : write.size);
  gpr[REG.rdi] = BigInt.asUintN(64, gpr[REG.rdi]! + step);
  if (write.kind === 'movs') gpr[REG.rsi] = BigInt.asUintN(64, gpr[REG.rsi]! + step);
  if (!write.rep) return false;
  gpr[REG.rcx] = gpr[REG.rcx]! - 1n;
  return gpr[REG.rcx] !== 0n;
}

function fetchCode(ctx: VcpuContext): Uint8Array | undefined {
  const { processor } = ctx;
  const code = new Uint8Array(MAX_INSTRUCTION);
  if (processor.readVirtual(processor.rip, code)) return code;
  const toPageEnd = PAGE_BYTES - Number(processor.rip & 0xfffn);
  const head = code.subarray(0, Math.min(toPageEnd, MAX_INSTRUCTION));
  return processor.readVirtual(processor.rip, head) ? head : undefined;
}

/** Physical offset of a write into an L1 table of the domain, or -1. Page lock held. */
function l1TableTarget(space: Space, root: number, va: bigint): number {
  const entry = findL1(space, root, va);
  if (entry === undefined) return -1;
  const at = (entry.index * PAGE_BYTES + entry.offset) >>> 2;
  const lo = space.words[at]!, hi = space.words[at + 1]!;
  // Present and read-only: anything else is the guest's own affair.
  if ((lo & 3) !== 1 || (hi & 0xf_ffff) !== space.slot) return -1;
  const frame = lo >>> 12;
  return tableLevel(space, frame) === PGT.l1_page_table ? frame * PAGE_BYTES + Number(va & 0xfffn) : -1;
}

/** One write into an entry: what it did; undefined when it is refused, 'again' when a walk set bits in the entry meanwhile. Page lock held. */
function applyWrite(ctx: VcpuContext, space: Space, target: number, write: DecodedWrite): Effect | 'again' | undefined {
  const entryAt = target & ~7;
  const shift = BigInt((target >>> 0) % 8 * 8);
  const whole = Atomics.load(space.quads, (entryAt >>> 0) / 8);
  const mask = maskOf(write.size) << shift;
  const effect = effectOf(ctx, write, (whole & mask) >> shift);
  if (effect === undefined) return undefined;
  const entry = (whole & ~mask) | ((effect.value << shift) & mask);
  const frame = Math.floor((entryAt >>> 0) / PAGE_BYTES);
  const error = modEntry(space, frame, PGT.l1_page_table, (entryAt >>> 0) % PAGE_BYTES, Number(entry & 0xffff_ffffn) | 0, Number(entry >> 32n) | 0, false, whole);
  if (error === -EAGAIN) return 'again';
  return error === 0 ? effect : undefined;
}

/**
 * A write fault of the guest kernel at `cr2`: true when it was a page-table write and has been done; false when the
 * guest must have its page fault.
 */
export function emulatePageTableWrite(ctx: VcpuContext, cr2: bigint, errorCode: number): boolean {
  const kind = PFEC.present | PFEC.write;
  if ((errorCode & (kind | PFEC.reserved | PFEC.fetch)) !== kind || !ctx.pv.kernelMode || !ctx.processor.longMode || ctx.pv.kernelRoot < 0) return false;
  const space = spaceOf(ctx);
  if (withPageLock(space, () => l1TableTarget(space, ctx.pv.kernelRoot, cr2)) < 0) return false;
  const code = fetchCode(ctx);
  const write = code && decodeWrite(code);
  if (write === undefined || Number(cr2 & 7n) % write.size !== 0) return false;
  const effect = withPageLock(space, () => {
    // Looked up again: the lock was released while the instruction was read.
    const target = l1TableTarget(space, ctx.pv.kernelRoot, cr2);
    return target < 0 ? undefined : applyWrite(ctx, space, target, write);
  });
  if (effect === undefined) return false;
  // Not retired: the guest runs the instruction again.
  if (effect !== 'again') retire(ctx, write, effect);
  return true;
}

function retire(ctx: VcpuContext, write: DecodedWrite, effect: Effect): void {
  const { processor } = ctx;
  const size = write.kind === 'cmpxchg8b' ? 4 : write.size;
  for (const [reg, value] of effect.registers) setRegister(ctx, reg, value, size, write.highByte && reg === write.reg);
  if (effect.flags !== undefined) processor.rflags = (processor.rflags & ~ARITHMETIC_FLAGS) | effect.flags;
  const again = (write.kind === 'stos' || write.kind === 'movs') && stepString(ctx, write);
  if (!again) processor.rip = BigInt.asUintN(64, processor.rip + BigInt(write.length));
}
