// The decode table read as a recipe for encodings, and what of it cannot be compared.
import { existsSync, readFileSync } from 'node:fs';
import { allRows } from '../../../hypervisor/cpu/decode.ts';
import type { Form } from '../../../hypervisor/cpu/insn.ts';
import type { Row } from '../../../hypervisor/cpu/opcodes/row.ts';

export interface Recipe {
  readonly row: Row; readonly mnemonic: string;
  /** Prefix, map and some of REX's bits are in a VEX prefix; it has VEX.vvvv name an operand. */
  readonly vex: boolean; readonly vvvv: boolean;
  readonly prefix: number; readonly map: number; readonly opcode: number; readonly extension: number; readonly second: number;
  readonly modrm: boolean; readonly memory: boolean; readonly register: boolean;
  readonly operands: readonly { letter: string; size: string }[];
  readonly string: boolean; readonly lockable: boolean;
  /** 66, F2 and F3 do not select another instruction here. */
  readonly freePrefixes: boolean;
  readonly long: boolean; readonly compat: boolean;
  /** Works on x87, MMX or vector registers, the latter two by its operands. */
  readonly fp: boolean; readonly vector: boolean;
  readonly branch: boolean; readonly segments: boolean;
  /** Has a relative branch target, an absolute address, the count register, or a segment register as an operand. */
  readonly relative: boolean; readonly absolute: boolean; readonly counted: boolean; readonly selector: boolean;
  /** F2, F3 or 66 select it, and an operand size counts nevertheless. */
  readonly sizedVector: boolean;
  /** Counts in rcx or addresses by rbx, as wide as addresses are. */
  readonly countsAddress: boolean;
  /** Its first operand's place follows from the second's bits. */
  readonly bits: boolean;
  /** Branches through its operand; has far pointers; loads a stack segment; ends otherwise than by a step. */
  readonly through: boolean; readonly far: boolean; readonly stackSegment: boolean; readonly stepped: boolean;
  /** Relative branches as wide as the stack. */
  readonly d64: boolean;
  /** Uses registers or memory that no operand names, which are to be of use to it (cases.ts: implicit). */
  readonly steered: boolean;
  readonly name: string;
}

/** Mnemonics left out, and why. */
export const EXCLUDED: Record<string, string> = {
  syscall: 'enters the host kernel', sysenter: 'makers differ; never reaches the guest kernel on the host', int: 'gates of the host kernel', int1: 'looks like the single-step trap that ends a case',
};
/** Extensions of the host's processor. */
const HOST_FEATURES = new Set(existsSync('/proc/cpuinfo') ? /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))?.[1]!.trim().split(' ') : []);
const hostHas = (row: Row): boolean => row.flags.every(f => !f.startsWith('needs:') || HOST_FEATURES.has(f.slice(6)));
const LACKING = new Set(allRows.filter(row => !hostHas(row)).map(row => row.mnemonic));
/** Forms left out: why, or undefined. */
export const excludedForm = (f: Form): string | undefined => EXCLUDED[f.mnemonic] ?? (LACKING.has(f.mnemonic) ? 'the host has no such instruction' : undefined) ?? (f.mnemonic.includes('+') ? 'pairs: sequences run them' : undefined) ?? (f.bits === 64 && /^(call_far|jmp_far|l[fgs]s)$/.test(f.mnemonic) ? 'far pointers with 64-bit offsets are one maker\'s only' : f.mnemonic === 'privileged' ? 'one form stands for all of them; they are counted by name' : undefined);
/** Privileged instructions whose outcome on the host is not the #GP that stands for a privileged exit. */
const EXCLUDED_PRIVILEGED = new Set(['vmcall', 'monitor', 'mwait', 'sysret', 'sysexit', 'lldt', 'ltr', 'xsetbv', 'swapgs']);

function recipe(row: Row): Recipe {
  const parts = row.opcode.split(' '), vex = parts[0] === 'VEX' && parts.shift() !== undefined;
  const prefix = parts.length > 1 && ['66', 'F3', 'F2'].includes(parts[0]!) ? parseInt(parts.shift()!, 16) : 0;
  const map = { '0F': 1, '0F38': 2, '0F3A': 3 }[parts[0]!] ?? 0;
  if (map) parts.shift();
  const opcode = parseInt(parts.shift()!, 16);
  let extension = -1, second = -1, want = '';
  for (const p of parts) if (p.startsWith('/')) extension = Number(p.slice(1)); else if (p === 'reg' || p === 'mem') want = p; else second = parseInt(p, 16);
  const operands = row.operands.split(',').filter(Boolean).map(o => /^[bv]$/.test(o) ? { letter: '', size: o } : o === '1' ? { letter: '1', size: '' } : { letter: o[0]!, size: o.slice(1) }).filter(o => o.letter);
  const has = (letters: string): boolean => operands.some(o => letters.includes(o.letter));
  const vector = has('VWUPQN') || prefix !== 0 && !vex;
  const modrm = second < 0 && (has('EGMRSWVUQPN') || extension >= 0 || want !== '' || row.mnemonic === 'x87');
  const register = modrm && want !== 'mem' && !has('M'), memory = modrm && want !== 'reg' && (has('EMWQ') || want === 'mem' || row.mnemonic === 'x87' || extension >= 0 && !has('RUN'));
  const m = row.mnemonic, branch = isBranch(m), segments = usesSegments(m), stackSegment = /ss$|mov_to_sreg/.test(m);
  return {
    fp: has('VWUPQN') || m === 'x87' || /fx|mxcsr|emms/.test(m), vector: has('VWUPQN'), branch, segments, relative: has('J'), absolute: has('O'), counted: has('C'), selector: has('S'),
    sizedVector: map === 1 && [0xb8, 0xbc, 0xbd].includes(opcode) || map === 2 && prefix === 0xf2,
    countsAddress: /^(loop|jrcxz|xlat)/.test(m), bits: m.startsWith('bt') && has('G'), through: m === 'jmp_rm' || m === 'call_rm',
    far: /far|^l[fgs]s$/.test(m), stackSegment, stepped: branch || /^(popf|int3|into|privileged|rdtscp?|ud|bound)$/.test(m) || segments && !stackSegment, d64: row.flags.includes('d64'),
    steered: row.flags.includes('string') || segments || has('C') || /^(push|pop|call|ret|enter|leave|jmp_rm|fxrstor|ldmxcsr|xlat|i?div|cmpxchg|loop|jrcxz)/.test(m),
    name: m === 'privileged' ? privilegedName(row) : m,
    row, mnemonic: row.mnemonic, vex, vvvv: has('B'), prefix, map, opcode, extension, second, modrm, memory, register, operands,
    string: row.flags.includes('string'), lockable: row.flags.includes('lock'),
    freePrefixes: !vector && !row.flags.includes('np') && !(map === 1 && opcode === 0xae) && map < 2 && row.mnemonic !== 'x87',
    long: !row.flags.includes('i64'), compat: !row.flags.includes('o64'),
  };
}

export const recipes: readonly Recipe[] = allRows.filter(hostHas).map(recipe).filter(r => !(r.mnemonic in EXCLUDED) && !EXCLUDED_PRIVILEGED.has(privilegedName(r.row)));
export const nameOf = (r: Recipe): string => r.name;
/** Instructions that load segment registers or ask about descriptors. */
function usesSegments(m: string): boolean { return /^(mov_to_sreg|l[efgds]s|lss|pop_[efgds]s|pop_ss|call_far|jmp_far|call_far_imm|jmp_far_imm|retf|retf_imm|iret|lar|lsl|verr|verw)$/.test(m); }
/** Branches: an operand-size prefix on them means different things to different makers. */
function isBranch(m: string): boolean { return /^(j\d+|jmp|jmp_rm|call|call_rm|ret|ret_imm|loop|loope|loopne|jrcxz)$/.test(m); }
function privilegedName(row: Row): string { return row.flags.find(f => f.startsWith('name:'))?.slice(5) ?? ''; }
