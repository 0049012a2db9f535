// What the native tier takes as it is: instructions whose operands all stand in their encoding, so that registers and memory
// operand can be exchanged for others and the host's processor does the rest. With what they do to flags, as far as that says
// whether guest flags have to be at hand: an instruction that leaves a flag as it was, or undefined, counts as one that reads them.
import type { Form } from '../insn.ts';

export interface FlagUse { readonly reads: boolean; readonly writes: boolean }
const NONE: FlagUse = { reads: false, writes: false }, KILLS: FlagUse = { reads: false, writes: true }, CHANGES: FlagUse = { reads: true, writes: true }, READS: FlagUse = { reads: true, writes: false };

const words = (text: string): readonly string[] => text.trim().split(/\s+/);
const integer = new Map<string, FlagUse>([
  ...words('mov movzx movsx movnti not xchg crc32 movbe bswap mulx pdep pext rorx sarx shlx shrx').map(m => [m, NONE] as const),
  ...words('add and or sub xor cmp test neg imul imul3 popcnt xadd').map(m => [m, KILLS] as const),
  ...words('adc sbb inc dec shl shr sar rol ror rcl rcr shld shrd bt bts btr btc bsf bsr tzcnt lzcnt andn bextr blsr blsmsk blsi bzhi').map(m => [m, CHANGES] as const),
  ...Array.from({ length: 16 }, (_, c) => [`cmov${c}`, READS] as const), ...Array.from({ length: 16 }, (_, c) => [`set${c}`, READS] as const),
]);
const vectorFlags = new Set(words('ptest ucomiss ucomisd comiss comisd pcmpistri pcmpistrm'));
/** Vector instructions with operands that their encoding does not show. */
const NOT_PLAIN = new Set(words('maskmov pcmpestri pcmpestrm'));
const SHIFTS = new Set(words('shl shr sar'));

/** Which of the host's extensions an instruction is in, beyond what x86-64-v2 has (opcodes' `needs:`). */
const EXTENSION = new Map<string, HostFeature>([
  ...words('tzcnt andn bextr blsr blsmsk blsi').map(m => [m, 'bmi1'] as const), ...words('bzhi mulx pdep pext rorx sarx shlx shrx').map(m => [m, 'bmi2'] as const),
  ['lzcnt', 'abm'], ['movbe', 'movbe'], ['pclmulqdq', 'pclmulqdq'],
  ...words('sha1nexte sha1msg1 sha1msg2 sha256rnds2 sha256msg1 sha256msg2 sha1rnds4').map(m => [m, 'sha'] as const),
]);
export type HostFeature = 'bmi1' | 'bmi2' | 'abm' | 'movbe' | 'pclmulqdq' | 'sha';

const known = new Map<Form, FlagUse | undefined>();
/** How an instruction that is taken as it is uses flags; undefined for one that is not. @param shiftBy its immediate, where it is a shift with one */
export function plainUse(form: Form, shiftBy: number, features: ReadonlySet<HostFeature>): FlagUse | undefined {
  let use = known.get(form);
  if (use === undefined && !known.has(form)) known.set(form, use = useOf(form));
  if (use === undefined) return undefined;
  const extension = EXTENSION.get(form.mnemonic);
  if (extension && !features.has(extension)) return undefined;
  if (use === CHANGES && SHIFTS.has(form.mnemonic) && form.operands[1]?.kind === 'imm' && (shiftBy & (form.bits === 64 ? 63 : 31)) !== 0) return KILLS;
  return use;
}
function useOf({ mnemonic, operands, address }: Form): FlagUse | undefined {
  if (address === 'a32' || operands.some(o => o.kind === 'mmx' || o.kind === 'sreg' || o.kind === 'sys')) return undefined;
  if (operands.some(o => o.kind === 'xmm')) return NOT_PLAIN.has(mnemonic) ? undefined : vectorFlags.has(mnemonic) ? KILLS : NONE;
  return integer.get(mnemonic);
}
/** Of these a prefix F2 or F3 is part of the encoding; of other integer instructions it means nothing and is left away. */
export const PREFIX_COUNTS = new Set(words('popcnt crc32 tzcnt lzcnt'));
