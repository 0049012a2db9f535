// How a mnemonic's meaning is registered: its operands' access and a function over Insn.
import type { Access, Bits, Insn } from '../insn.ts';

export interface Definition {
  readonly access: readonly Access[];
  readonly define: (x: Insn) => void;
  /** Bytes of memory touched, when not the memory operand's size. */
  readonly memoryBytes?: (bits: Bits) => number;
  /** Checks that come before the memory operand's. */
  readonly before?: (x: Insn) => void;
  /** BT family: a register bit offset moves the memory operand. */
  readonly bitString?: boolean;
}
export type Definitions = Map<string, Definition>;

/** `def('add', 'rw r', fn)`: access words are r, w, rw, addr (address only, nothing is translated). */
export const definer = (into: Definitions) => (name: string, access: string, define: (x: Insn) => void, more: Omit<Definition, 'access' | 'define'> = {}): void => {
  into.set(name, { access: access.split(' ').filter(Boolean) as Access[], define, ...more });
};
