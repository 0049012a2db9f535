// Generates SSE cases, one instruction each on xmm0 (first operand and destination), xmm1, rax; compares with the host.

import { packedFlags, RELATION, sseBinary, sseCompare, sseConvert, sseDotProduct, sseFromInteger, ssePredicate, sseRound, sseSqrt, sseToInteger, unmasked } from '../../../hypervisor/cpu/softfloat/index.ts';
import type { SseFormat, SseOperation } from '../../../hypervisor/cpu/softfloat/index.ts';
import type { NativeCase, NativeResult } from './native.ts';
import { hard32, hard64, Random } from './operands.ts';

/** What an instruction makes of its operands: destination elements (lowest first), or rax, or EFLAGS. */
export interface SseOutcome { low?: bigint[]; rax?: bigint; eflags?: number; flags: number }
export interface SseInstruction {
  readonly name: string;
  readonly code: readonly number[];
  /** Width of source elements. */
  readonly format: SseFormat;
  /** Width of result elements. */
  readonly result: SseFormat;
  readonly run: (a: readonly bigint[], b: readonly bigint[], rax: bigint, mxcsr: number) => SseOutcome;
}

const OPCODES: readonly (readonly [SseOperation, number])[] = [['add', 0x58], ['mul', 0x59], ['sub', 0x5c], ['min', 0x5d], ['div', 0x5e], ['max', 0x5f]];
/** Mandatory prefixes: none ps, 66 pd, F3 ss, F2 sd. */
const FORMS = [
  { suffix: 'ps', prefix: [] as number[], format: 32 as SseFormat, count: 4 }, { suffix: 'pd', prefix: [0x66], format: 64 as SseFormat, count: 2 },
  { suffix: 'ss', prefix: [0xf3], format: 32 as SseFormat, count: 1 }, { suffix: 'sd', prefix: [0xf2], format: 64 as SseFormat, count: 1 },
] as const;

interface Part { value: bigint; flags: number }

/** Elements computed one by one and joined as a packed instruction joins them. */
function packed(count: number, mxcsr: number, one: (n: number) => Part): SseOutcome {
  const parts = Array.from({ length: count }, (_, n) => one(n));
  return { low: parts.map((p) => p.value), flags: packedFlags(mxcsr, parts.map((p) => p.flags)) };
}

function arithmetic(): SseInstruction[] {
  const list: SseInstruction[] = [];
  for (const { suffix, prefix, format, count } of FORMS) {
    for (const [operation, opcode] of OPCODES) {
      list.push({ name: operation + suffix, code: [...prefix, 0x0f, opcode, 0xc1], format, result: format, run: (a, b, _, mxcsr) => packed(count, mxcsr, (n) => sseBinary(operation, format, a[n]!, b[n]!, mxcsr)) });
    }
    list.push({ name: 'sqrt' + suffix, code: [...prefix, 0x0f, 0x51, 0xc1], format, result: format, run: (_a, b, _r, mxcsr) => packed(count, mxcsr, (n) => sseSqrt(format, b[n]!, mxcsr)) });
    for (let predicate = 0; predicate < 8; predicate++) {
      const ones = format === 32 ? 0xffffffffn : 0xffffffffffffffffn;
      list.push({ name: `cmp${suffix}${predicate}`, code: [...prefix, 0x0f, 0xc2, 0xc1, predicate], format, result: format,
        run: (a, b, _, mxcsr) => packed(count, mxcsr, (n) => { const r = ssePredicate(format, a[n]!, b[n]!, predicate, mxcsr); return { value: r.value ? ones : 0n, flags: r.flags }; }) });
    }
  }
  return list;
}

const EFLAGS_OF = new Map<number, number>([[RELATION.less, 1], [RELATION.equal, 0x40], [RELATION.greater, 0], [RELATION.unordered, 0x45]]);

function compares(): SseInstruction[] {
  return [32, 64].flatMap((f) => [0x2e, 0x2f].map((opcode): SseInstruction => {
    const format = f as SseFormat;
    return { name: `${opcode === 0x2f ? 'comis' : 'ucomis'}${f === 32 ? 's' : 'd'}`, code: [...(f === 64 ? [0x66] : []), 0x0f, opcode, 0xc1], format, result: format,
      run: (a, b, _, mxcsr) => { const { relation, flags } = sseCompare(format, a[0]!, b[0]!, opcode === 0x2f, mxcsr); return { eflags: EFLAGS_OF.get(relation)!, flags }; } };
  }));
}

const signed = (bits: 32 | 64, n: bigint): bigint => BigInt.asIntN(bits, n);

function conversions(): SseInstruction[] {
  const list: SseInstruction[] = [];
  for (const { suffix, prefix, format } of FORMS.slice(2)) {
    for (const bits of [32, 64] as const) {
      const rex = bits === 64 ? [0x48] : [];
      list.push({ name: `cvtsi2${suffix}${bits}`, code: [...prefix, ...rex, 0x0f, 0x2a, 0xc0], format, result: format, run: (_a, _b, rax, mxcsr) => packed(1, mxcsr, () => sseFromInteger(format, signed(bits, rax), mxcsr)) });
      for (const [truncate, opcode] of [[true, 0x2c], [false, 0x2d]] as const) {
        list.push({ name: `cvt${truncate ? 't' : ''}${suffix}2si${bits}`, code: [...prefix, ...rex, 0x0f, opcode, 0xc1], format, result: format,
          run: (_a, b, _r, mxcsr) => { const r = sseToInteger(format, b[0]!, bits, truncate, mxcsr); return { rax: r.value, flags: r.flags }; } });
      }
    }
  }
  const toDwords = (name: string, code: number[], format: SseFormat, count: number, truncate: boolean): SseInstruction => ({ name, code, format, result: 32,
    run: (_a, b, _r, mxcsr) => { const r = packed(count, mxcsr, (n) => sseToInteger(format, b[n]!, 32, truncate, mxcsr)); return { ...r, low: [...r.low!, ...(count === 2 ? [0n, 0n] : [])] }; } });
  list.push(toDwords('cvtps2dq', [0x66, 0x0f, 0x5b, 0xc1], 32, 4, false), toDwords('cvttps2dq', [0xf3, 0x0f, 0x5b, 0xc1], 32, 4, true));
  list.push(toDwords('cvtpd2dq', [0xf2, 0x0f, 0xe6, 0xc1], 64, 2, false), toDwords('cvttpd2dq', [0x66, 0x0f, 0xe6, 0xc1], 64, 2, true));
  list.push({ name: 'cvtdq2ps', code: [0x0f, 0x5b, 0xc1], format: 32, result: 32, run: (_a, b, _r, mxcsr) => packed(4, mxcsr, (n) => sseFromInteger(32, signed(32, b[n]!), mxcsr)) });
  list.push({ name: 'cvtdq2pd', code: [0xf3, 0x0f, 0xe6, 0xc1], format: 32, result: 64, run: (_a, b, _r, mxcsr) => packed(2, mxcsr, (n) => sseFromInteger(64, signed(32, b[n]!), mxcsr)) });
  list.push({ name: 'cvtss2sd', code: [0xf3, 0x0f, 0x5a, 0xc1], format: 32, result: 64, run: (_a, b, _r, mxcsr) => packed(1, mxcsr, () => sseConvert(32, 64, b[0]!, mxcsr)) });
  list.push({ name: 'cvtsd2ss', code: [0xf2, 0x0f, 0x5a, 0xc1], format: 64, result: 32, run: (_a, b, _r, mxcsr) => packed(1, mxcsr, () => sseConvert(64, 32, b[0]!, mxcsr)) });
  list.push({ name: 'cvtps2pd', code: [0x0f, 0x5a, 0xc1], format: 32, result: 64, run: (_a, b, _r, mxcsr) => packed(2, mxcsr, (n) => sseConvert(32, 64, b[n]!, mxcsr)) });
  list.push({ name: 'cvtpd2ps', code: [0x66, 0x0f, 0x5a, 0xc1], format: 64, result: 32, run: (_a, b, _r, mxcsr) => { const r = packed(2, mxcsr, (n) => sseConvert(64, 32, b[n]!, mxcsr)); return { ...r, low: [...r.low!, 0n, 0n] }; } });
  return list;
}

function sse41(): SseInstruction[] {
  const list: SseInstruction[] = [];
  for (let imm = 0; imm < 16; imm++) {
    for (const [name, opcode, format, count] of [['roundps', 8, 32, 4], ['roundpd', 9, 64, 2], ['roundss', 10, 32, 1], ['roundsd', 11, 64, 1]] as const) {
      list.push({ name: name + imm, code: [0x66, 0x0f, 0x3a, opcode, 0xc1, imm], format, result: format, run: (_a, b, _r, mxcsr) => packed(count, mxcsr, (n) => sseRound(format, b[n]!, imm, mxcsr)) });
    }
  }
  for (const imm of [0xff, 0xf1, 0x71, 0x33, 0x5a, 0xa5, 0x1f, 0x00, 0xc8]) {
    for (const [name, opcode, format] of [['dpps', 0x40, 32], ['dppd', 0x41, 64]] as const) {
      list.push({ name: name + imm.toString(16), code: [0x66, 0x0f, 0x3a, opcode, 0xc1, imm], format, result: format,
        run: (a, b, _, mxcsr) => { const r = sseDotProduct(format, a, b, imm, mxcsr); return { low: r.values, flags: r.flags }; } });
    }
  }
  return list;
}

export const SSE_INSTRUCTIONS: readonly SseInstruction[] = [...arithmetic(), ...compares(), ...conversions(), ...sse41()];

export interface SseCase extends NativeCase { instruction: SseInstruction; mxcsr: number; a: bigint[]; b: bigint[] }

function randomMxcsr(r: Random, unmaskedToo: boolean): number {
  const masks = unmaskedToo && r.below(4) === 0 ? r.u32() & 0x3f : 0x3f;
  const modes = r.below(4) === 0 ? r.pick([0x40, 0x8000, 0x8040]) : 0;
  const sticky = r.below(8) === 0 ? r.u32() & masks : 0;
  return (masks << 7) | (r.below(4) << 13) | modes | sticky;
}

function elements(r: Random, format: SseFormat): bigint[] {
  return Array.from({ length: 128 / format }, () => (format === 32 ? hard32(r) : hard64(r)));
}

/** The second operand: unrelated, or of nearly the same exponent, or equal in magnitude. */
function related(r: Random, format: SseFormat, a: readonly bigint[]): bigint[] {
  const exponentUnit = format === 32 ? 1n << 23n : 1n << 52n, sign = 1n << BigInt(format - 1), all = (1n << BigInt(format)) - 1n;
  return elements(r, format).map((b, n) => {
    const close = (a[n]! + exponentUnit * BigInt(r.below(5) - 2) + BigInt(r.below(5) - 2)) & all;
    return r.below(3) === 0 ? (r.below(2) ? close : close ^ sign) : b;
  });
}

export function randomSseCase(r: Random, instructions: readonly SseInstruction[], unmaskedToo: boolean): SseCase {
  const instruction = r.pick(instructions);
  const { format } = instruction;
  const a = elements(r, format), b = related(r, format, a);
  // Values an integer can hold, for the conversions.
  if (/^(cvt|round)/.test(instruction.name) && r.below(2)) b.forEach((_, n) => { b[n] = nearInteger(r, format); });
  const mxcsr = randomMxcsr(r, unmaskedToo);
  const image = new Uint8Array(512), view = new DataView(image.buffer);
  view.setUint16(0, 0x37f, true);
  view.setUint32(24, mxcsr, true);
  const write = (at: number, values: readonly bigint[]): void => values.forEach((v, n) => (format === 32 ? view.setUint32(at + 4 * n, Number(v), true) : view.setBigUint64(at + 8 * n, v, true)));
  write(160, a);
  write(176, b);
  const rax = r.below(2) ? r.u64() : BigInt.asUintN(64, BigInt(r.u32() | 0) >> BigInt(r.below(31)));
  return { instruction, mxcsr, a, b, code: instruction.code, rax, eflags: 0, image, memory: new Uint8Array(128) };
}

function nearInteger(r: Random, format: SseFormat): bigint {
  const e = BigInt(r.below(68)) - 2n, sign = BigInt(r.below(2));
  if (format === 32) return (sign << 31n) | ((127n + e) << 23n) | (hard32(r) & 0x7fffffn);
  return (sign << 63n) | ((1023n + e) << 52n) | (hard64(r) & 0xfffffffffffffn);
}

const hex = (n: bigint | number, digits: number): string => n.toString(16).padStart(digits, '0');

/** Differences in words; empty when host and implementation agree. */
/** Of several NaNs a dot product may give any: makers add in different orders. */
const anyNan = (c: SseCase, a: bigint, b: bigint): boolean => {
  const nan = (v: bigint): boolean => c.instruction.result === 32 ? (v & 0x7fffffffn) > 0x7f800000n : (v & 0x7fffffffffffffffn) > 0x7ff0000000000000n;
  return c.instruction.name.startsWith('dpp') && nan(a) && nan(b);
};

export function sseDifferences(c: SseCase, host: NativeResult): string[] {
  const { instruction, mxcsr } = c;
  const outcome = instruction.run(c.a, c.b, c.rax, mxcsr);
  const fault = unmasked(mxcsr, outcome.flags) !== 0;
  const after = hex(mxcsr | outcome.flags, 4);
  if ((host.status === 'fault') !== fault) return [`status host ${host.status} here ${fault ? 'fault' : 'done'} flags ${hex(outcome.flags, 2)}`];
  const view = new DataView(host.image.buffer, host.image.byteOffset, 512);
  const out: string[] = [];
  const check = (what: string, a: string, b: string): void => { if (a !== b) out.push(`${what} host ${a} here ${b}`); };
  if (fault) { check('mxcsr', hex(host.mxcsr, 4), after); return out; }
  check('mxcsr', hex(view.getUint32(24, true), 4), after);
  const low = outcome.low ?? [];
  low.forEach((value, n) => {
    const at = 160 + (n * instruction.result) / 8;
    const actual = instruction.result === 32 ? BigInt(view.getUint32(at, true)) : view.getBigUint64(at, true);
    if (!anyNan(c, actual, value)) check(`element${n}`, hex(actual, instruction.result / 4), hex(value, instruction.result / 4));
  });
  if (outcome.rax !== undefined) check('rax', hex(host.rax, 16), hex(outcome.rax, 16));
  if (outcome.eflags !== undefined) check('eflags', hex(host.eflags & 0x8d5, 4), hex(outcome.eflags, 4));
  return out;
}

export const describeSseCase = (c: SseCase): string =>
  `${c.instruction.name} mxcsr ${hex(c.mxcsr, 4)} a ${c.a.map((v) => hex(v, c.instruction.format / 4)).join(' ')} b ${c.b.map((v) => hex(v, c.instruction.format / 4)).join(' ')} rax ${hex(c.rax, 16)}`;
