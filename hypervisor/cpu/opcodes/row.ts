/**
 * One encoding. `opcode`: optional VEX (with VEX.L 0), optional mandatory prefix (66, F3, F2), map (0F, 0F38, 0F3A), opcode byte, then /n for a
 * ModRM extension, `reg` or `mem` to ask for a ModRM kind, or a whole second byte (0F 01 F8).
 *
 * Operands are a letter and a size. Letters: E general register or memory, G register of ModRM.reg, B register of
 * VEX.vvvv, R register of ModRM.rm, M memory, Z register in the opcode, A accumulator, C the count in CL, I immediate, J relative target,
 * O absolute address, S segment register; W xmm or memory, V xmm of ModRM.reg, U xmm of ModRM.rm, Q mmx or
 * memory, P mmx of ModRM.reg, N mmx of ModRM.rm, 1 the constant one. Sizes: b 8, w 16, d 32, q 64, x 128,
 * v operand size, z operand size up to 32 (immediates), y 32 or 64, s stack size.
 *
 * Flags: lock (LOCK allowed), i64/o64 (invalid / only in 64-bit mode), d64/f64 (64-bit operand size there),
 * bits (bit string), string, unaligned (16-byte operands need no alignment), name:/width: (privileged), needs:
 * (an extension that not all processors of the level have, as Linux names it).
 */
export interface Row { readonly opcode: string; readonly mnemonic: string; readonly operands: string; readonly flags: readonly string[] }
