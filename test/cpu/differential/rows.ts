// The decode table read as a recipe for encodings, and what of it cannot be compared.
import { allRows } from '../../../hypervisor/cpu/decode.ts';
import type { Form } from '../../../hypervisor/cpu/insn.ts';
import type { Row } from '../../../hypervisor/cpu/opcodes/row.ts';

export interface Recipe {
  readonly row: Row; readonly mnemonic: string;
  readonly prefix: number; readonly map: number; readonly opcode: number; readonly extension: number; readonly second: number;
  readonly modrm: boolean; readonly memory: boolean; readonly register: boolean;
  readonly operands: readonly { letter: string; size: string }[];
  readonly string: boolean; readonly lockable: boolean;
  /** 66, F2 and F3 do not select another instruction here. */
  readonly freePrefixes: boolean;
  readonly long: boolean; readonly compat: boolean;
}

/** Mnemonics left out, and why. */
export const EXCLUDED: Record<string, string> = {
  syscall: 'enters the host kernel', sysenter: 'makers differ; never reaches the guest kernel on the host', int: 'gates of the host kernel', int1: 'looks like the single-step trap that ends a case',
};
/** Forms left out: why, or undefined. */
export const excludedForm = (f: Form): string | undefined => EXCLUDED[f.mnemonic] ?? (f.mnemonic.includes('+') ? 'pairs: sequences run them' : undefined) ?? (f.bits === 64 && /^(call_far|jmp_far|l[fgs]s)$/.test(f.mnemonic) ? 'far pointers with 64-bit offsets are one maker\'s only' : f.mnemonic === 'privileged' ? 'one form stands for all of them; they are counted by name' : undefined);
/** Privileged instructions whose outcome on the host is not the #GP that stands for a privileged exit. */
const EXCLUDED_PRIVILEGED = new Set(['vmcall', 'monitor', 'mwait', 'sysret', 'sysexit', 'lldt', 'ltr', 'xsetbv', 'swapgs']);

function recipe(row: Row): Recipe {
  const parts = row.opcode.split(' ');
  const prefix = parts.length > 1 && ['66', 'F3', 'F2'].includes(parts[0]!) ? parseInt(parts.shift()!, 16) : 0;
  const map = { '0F': 1, '0F38': 2, '0F3A': 3 }[parts[0]!] ?? 0;
  if (map) parts.shift();
  const opcode = parseInt(parts.shift()!, 16);
  let extension = -1, second = -1, want = '';
  for (const p of parts) if (p.startsWith('/')) extension = Number(p.slice(1)); else if (p === 'reg' || p === 'mem') want = p; else second = parseInt(p, 16);
  const operands = row.operands.split(',').filter(Boolean).map(o => /^[bv]$/.test(o) ? { letter: '', size: o } : o === '1' ? { letter: '1', size: '' } : { letter: o[0]!, size: o.slice(1) }).filter(o => o.letter);
  const has = (letters: string): boolean => operands.some(o => letters.includes(o.letter));
  const vector = has('VWUPQN') || prefix !== 0;
  const modrm = second < 0 && (has('EGMRSWVUQPN') || extension >= 0 || want !== '' || row.mnemonic === 'x87');
  const register = modrm && want !== 'mem' && !has('M'), memory = modrm && want !== 'reg' && (has('EMWQ') || want === 'mem' || row.mnemonic === 'x87' || extension >= 0 && !has('RUN'));
  return {
    row, mnemonic: row.mnemonic, prefix, map, opcode, extension, second, modrm, memory, register, operands,
    string: row.flags.includes('string'), lockable: row.flags.includes('lock'),
    freePrefixes: !vector && !row.flags.includes('np') && !(map === 1 && opcode === 0xae) && map < 2 && row.mnemonic !== 'x87',
    long: !row.flags.includes('i64'), compat: !row.flags.includes('o64'),
  };
}

const privilegedName = (row: Row): string => row.flags.find(f => f.startsWith('name:'))?.slice(5) ?? '';
export const recipes: readonly Recipe[] = allRows.map(recipe).filter(r => !(r.mnemonic in EXCLUDED) && !EXCLUDED_PRIVILEGED.has(privilegedName(r.row)));
export const nameOf = (r: Recipe): string => r.mnemonic === 'privileged' ? privilegedName(r.row) : r.mnemonic;
/** Instructions that load segment registers or ask about descriptors. */
export const usesSegments = (m: string): boolean => /^(mov_to_sreg|l[efgds]s|lss|pop_[efgds]s|pop_ss|call_far|jmp_far|call_far_imm|jmp_far_imm|retf|retf_imm|iret|lar|lsl|verr|verw)$/.test(m);
/** Branches: an operand-size prefix on them means different things to different makers. */
export const isBranch = (m: string): boolean => /^(j\d+|jmp|jmp_rm|call|call_rm|ret|ret_imm|loop|loope|loopne|jrcxz)$/.test(m);
