// Lays two outcomes of a case side by side.
import { existsSync, readFileSync } from 'node:fs';
import { SLOT } from '../../../hypervisor/cpu/state.ts';
import type { Meta } from './cases.ts';
import { TRAP } from './guest.ts';
import { CS32, WORD } from './layout.ts';
import { approximation, closeSingles, COMPARED, FX_MASK, generationsDiffer, nearlyEqual, outsideDomain, transcendental, undefinedFlags, undefinedResult } from './masks.ts';
import { nameOf } from './rows.ts';
import type { Stage } from './stage.ts';

/** Trap number of a case that never ended on the host's processor (native/harness.c). */
const ENDLESS = 255;
const WITH_ERROR_CODE = 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17;
/** Several accesses: which one faults first is the maker's choice. */
const CR2_OF_CHOICE = new Set(['cmps', 'pusha', 'popa', 'x87', 'fxsave', 'fxrstor']);
/** Memory operands of many bytes. */
const WIDE_STATE = new Set(['fxsave', 'fxrstor', 'x87']);
const FAR = new Set(['iret', 'retf', 'retf_imm', 'call_far', 'jmp_far', 'call_far_imm', 'jmp_far_imm']);
/** Privileged for us, but executed by the host at CPL 3. */
const HOST_RUNS = new Set(['rdtsc', 'rdtscp', 'cpuid', 'xgetbv']);

/** Where makers differ AMD's processors are followed: on others this is not compared. */
const AMD = existsSync('/proc/cpuinfo') && readFileSync('/proc/cpuinfo', 'latin1').includes('AuthenticAMD');
function makersDiffer(meta: Meta, trap: number, ours: number, compat: boolean): boolean {
  const { form, recipe } = meta, { mnemonic } = recipe, fault = trap >= 12 && trap <= 14;
  // BOUND's second limit where the first has decided, segment registers' upper halves on the stack, NaNs of dot
  // products, far returns, what masked stores touch.
  if (/^(maskmov|(push|pop)_[c-gs]s|dpp|retf|iret|movnti$|bound)/.test(mnemonic)) return true;
  // A store that an unmasked exception keeps from happening need not have had a place.
  if (mnemonic === 'x87' && ours >= 12 && ours <= 14 && !fault) return true;
  // SHA instructions with operands in memory that are not aligned: #GP or not.
  if (mnemonic.startsWith('sha') && trap === 13) return true;
  // MOVSXD with a 16-bit result: Intel's read 2 bytes (SDM volume 2, MOVSXD r16, r/m16), AMD's 4 (APM volume 3, MOVSXD).
  if (recipe.map === 0 && recipe.opcode === 0x63 && form?.bits === 16 && ours >= 12 && ours <= 14 && !fault) return true;
  // The last bits of x87 functions; segment limit or page first; a call's push before or after a look at its target.
  if (transcendental(meta) || compat && fault && ours >= 12 && ours <= 14 || mnemonic === 'call_rm' && trap === 13) return true;
  // At a fault: how far a repeated string instruction has come, whether MMX state was entered.
  return form !== undefined && (form.rep !== 'none' && (trap === 14 || form.address === 'a32') || fault && form.operands.some(o => o.kind === 'mmx'));
}

/** Compares the cases of a batch: nearly all are equal in everything, and those that are not are looked at closely. */
export function differences(stage: Stage, input: Uint32Array, ours: Uint32Array, host: Uint32Array): (meta: Meta, base: number) => string {
  const { equal } = stage.wasm;
  return (meta, base) => equal(ours.byteOffset + 4 * base, host.byteOffset + 4 * base) ? '' : difference(meta, input, ours, host, base);
}
/** Names of what differs in the case at a word index ('' for nothing): also the key under which differences are gathered. */
function difference(meta: Meta, input: Uint32Array, ours: Uint32Array, host: Uint32Array, b: number): string {
  let trap = host[b]!;
  if (trap === ENDLESS || !AMD && makersDiffer(meta, trap, ours[b]!, input[b] === CS32)) return '';
  const found: string[] = [];
  if (ours[b] === TRAP.privileged) {
    const name = nameOf(meta.recipe), length = ours[b + WORD.error]!;
    // XGETBV of a register that is not there faults.
    if (trap === 13 && host[b + WORD.error] === 0 && (!HOST_RUNS.has(name) || name === 'xgetbv')) return '';
    if (HOST_RUNS.has(name) && trap === 1 && host[b + WORD.rip]! === input[b + WORD.rip]! + length) return '';
    return 'privileged';
  }
  // With an FS or GS base some makers want the offset canonical too, not only the sum.
  if (trap === 13 && ours[b] === 14 && (meta.decoded.segment === SLOT.fsBase || meta.decoded.segment === SLOT.gsBase)) return '';
  // Far transfers check descriptor, stack and target in an order of the maker's own: a fault is a fault.
  if (FAR.has(meta.recipe.mnemonic) && trap >= 11 && trap <= 14 && ours[b]! >= 11 && ours[b]! <= 14) return '';
  // A far call into 32-bit code from a stack beyond 4 GiB: pushed before or after the switch.
  if (meta.recipe.mnemonic === 'call_far' && input[b + WORD.gpr + 9] && (host[b + WORD.window + 1]! & 0xffff) === CS32 && input[b] !== CS32) return '';
  // Alignment, segment limit or page first: the maker's choice.
  if (WIDE_STATE.has(meta.recipe.mnemonic) && trap >= 12 && trap <= 14 && ours[b]! >= 12 && ours[b]! <= 14) return '';
  // The host may have an MXCSR bit (misaligned SSE) that we do not.
  if ((meta.recipe.mnemonic === 'ldmxcsr' || meta.recipe.mnemonic === 'fxrstor') && ours[b] === 13 && host[b + WORD.fx + 6]! & 0x20000) return '';
  if ((outsideDomain(meta, input, b) || generationsDiffer(meta, input, b)) && trap === ours[b]) return '';
  if (undefinedResult(meta, input, b) && trap === ours[b]) return '';
  if (trap !== ours[b]) found.push('trap');
  else if (trap < 32 && WITH_ERROR_CODE >>> trap & 1) {
    let error = host[b + WORD.error]!, high = host[b + WORD.cr2 + 1]!;
    // Linux does not tell user programs whether a kernel page is mapped.
    if (trap === 14 && (high >= 0x8000 || high === 0x7fff && host[b + WORD.cr2]! >= 0xfffff000)) error = error & ~1 | ours[b + WORD.error]! & 1;
    if (error !== ours[b + WORD.error]) found.push('error');
    if (trap === 14 && !CR2_OF_CHOICE.has(meta.recipe.mnemonic) && (host[b + WORD.cr2] !== ours[b + WORD.cr2] || high !== ours[b + WORD.cr2 + 1])) found.push('cr2');
  }
  if (host[b + WORD.rip] !== ours[b + WORD.rip] || host[b + WORD.rip + 1] !== ours[b + WORD.rip + 1]) found.push('rip');
  const flags = (host[b + WORD.rflags]! ^ ours[b + WORD.rflags]!) & COMPARED;
  if (flags && flags & ~(trap === 1 || trap === 3 ? undefinedFlags(meta, input, b) : meta.faultFlags)) found.push('flags');
  // POPA that faults may have loaded some registers.
  if (meta.recipe.mnemonic !== 'popa' || trap !== 14) for (let n = 0; n < 16; n++) {
    const o = b + WORD.gpr + 2 * n;
    if (meta.recipe.mnemonic === 'lsl' && (host[o]! ^ ours[o]!) >>> 8 === 0 && (ours[o]! & 255) === 0) continue; // the host's CPU number
    // A switch to 32-bit code leaves the upper halves open.
    const open = FAR.has(meta.recipe.mnemonic) && (host[b + WORD.window + 1]! & 0xffff) === CS32;
    if (host[o] !== ours[o] || host[o + 1] !== ours[o + 1] && !open) { found.push('register'); break; }
  }
  const fx = b + WORD.fx;
  const inexact = transcendental(meta), approximate = approximation(meta);
  for (let i = 0; i < 104; i++) if ((host[fx + i]! ^ ours[fx + i]!) & FX_MASK[i]! && !(inexact && nearlyEqual(host, ours, fx, i)) && !(approximate && i >= 40 && closeSingles(host[fx + i]!, ours[fx + i]!))) { found.push(i >= 40 ? 'xmm' : i >= 8 ? 'st' : i === 6 ? 'mxcsr' : i === 1 ? 'ftw' : 'fcw/fsw'); break; }
  const data = b + WORD.data;
  for (let i = 0; i < 128; i++) if (host[data + i] !== ours[data + i] && !savedMxcsrMask(meta, ours, host, data + i) && !pushedTrapFlag(meta, input, ours, host, b, i)) { found.push('memory'); break; }
  // What FXSAVE stores beside the windows is only hashed, MXCSR_MASK included.
  if (host[b + WORD.window] !== ours[b + WORD.window] && meta.recipe.mnemonic !== 'fxsave') found.push('stray stores');
  for (let i = 1; i < 4; i++) if (visible(host[b + WORD.window + i]!) !== visible(ours[b + WORD.window + i]!)) { found.push('selectors'); break; }
  return found.join(' ');
}

/** Two selectors: the return from the host kernel clears the low bits of null ones. */
const visible = (pair: number): number => ((pair & 0xfffc) === 0 ? pair & ~3 : pair) & ((pair & 0xfffc0000) === 0 ? ~0x30000 : -1);
/** MXCSR_MASK in an FXSAVE image: the host may have a bit (misaligned SSE) that we do not. */
const savedMxcsrMask = (meta: Meta, ours: Uint32Array, host: Uint32Array, at: number): boolean => meta.recipe.mnemonic === 'fxsave' && (host[at]! ^ ours[at]!) === 0x20000;
/** PUSHF under the trap flag pushes it. */
function pushedTrapFlag(meta: Meta, input: Uint32Array, ours: Uint32Array, host: Uint32Array, b: number, word: number): boolean {
  if (meta.recipe.mnemonic !== 'pushf') return false;
  const at = ours[b + WORD.gpr + 8]! + 1 - (word < 64 ? input[b + WORD.window]! : input[b + WORD.window + 2]!) - (word < 64 ? 0 : -256);
  return at >> 2 === word && ((host[b + WORD.data + word]! ^ ours[b + WORD.data + word]!) & ~(1 << (at & 3) * 8)) === 0;
}
