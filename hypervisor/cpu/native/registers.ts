// Which host register holds which guest register while native code runs. Most are where they are in the guest, so that
// instructions with fixed operands (shifts by cl, mul, cbw's kin) need little moved. RSP stays the thread's own stack; RAX
// and R15 are for the translator: LAHF and SETcc need the first.
import { RAX, R10, R11, R14, R15, RBP, RBX, RCX, RDI, RDX, RSI, R8, R9, R12, R13 } from './assembler.ts';
import { SLOT } from '../state.ts';

/** By guest register number; -1: it stays in the vCPU's state. */
export const HOST: readonly number[] = [R14, RCX, RDX, RBX, R10, RBP, RSI, RDI, R8, R9, -1, -1, R12, R13, R11, -1];
export const T0 = RAX, T1 = R15;
export const GUEST_RSP = R10, GUEST_RAX = R14;
/** Of a register slot (state.ts SLOT). */
export const hostOf = (slot: number): number => slot < 128 ? HOST[slot >> 3]! : -1;
export const isHighByte = (slot: number): boolean => (slot & 7) !== 0;
export const slotOf = SLOT.gpr;
