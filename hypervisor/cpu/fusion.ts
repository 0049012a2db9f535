// Handlers for pairs: which comparison and which conditional jump make one. Adds their forms behind the decoder's.
import { forms, SPECIAL_COUNT } from './decode.ts';
import type { Form } from './insn.ts';
import { FUSED_CONDITIONS, fusedName } from './semantics/fused.ts';

const pairs = new Map<number, Int32Array>();
const conditionOf = new Map<number, number>();
const added: Form[] = [];

forms.forEach((form, i) => {
  const handler = SPECIAL_COUNT + i, jump = /^j(\d+)$/.exec(form.mnemonic);
  if (jump) conditionOf.set(handler, Number(jump[1]));
  if (form.mnemonic !== 'cmp' && form.mnemonic !== 'test') return;
  const row = new Int32Array(16);
  for (const c of FUSED_CONDITIONS) row[c] = SPECIAL_COUNT + forms.length + added.push({ ...form, mnemonic: fusedName(form.mnemonic, c) }) - 1;
  pairs.set(handler, row);
});
/** Every handler's shape, in handler-number order behind the specials. */
export const allForms: readonly Form[] = [...forms, ...added];

/** The handler for two records in a row, or 0. */
export function fusedHandler(first: number, second: number): number {
  const condition = conditionOf.get(second);
  return condition === undefined ? 0 : pairs.get(first)?.[condition] ?? 0;
}
