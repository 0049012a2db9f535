import { describe, expect, test } from 'vitest';
import { decode, forms, newDecoded, SPECIAL_COUNT } from '../decode.ts';
import { compileInterpreter } from '../interpreter.ts';
import { layoutMemory } from '../layout.ts';
import { sseRows } from '../opcodes/sse.ts';
import { createProcessor, type SoftwareProcessor } from '../processor.ts';
import { EXIT } from '../processor-api.ts';
import { writeRecord } from '../record.ts';
import { sseInstruction } from '../sse-helper.ts';
import { FX, S } from '../state.ts';

const module = compileInterpreter(0);
const CODE_VA = 0x400000n, DATA_VA = 0x500000n;

/** A processor with a code page and one data page, the next one absent. */
function machine(): { cpu: SoftwareProcessor; step: (...code: number[]) => number } {
  const layout = layoutMemory(1, 64);
  const memory = new WebAssembly.Memory({ initial: layout.totalBytes / 65536, maximum: layout.totalBytes / 65536, shared: true });
  const cpu = createProcessor({ memory, layout, vcpu: 0, slot: 0, module, host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {} } });
  const frame = (n: number): number => (layout.first + n) * 4096;
  for (let level = 0; level < 3; level++) cpu.view.setBigUint64(frame(level), BigInt(frame(level + 1)) | 7n, true);
  cpu.view.setBigUint64(frame(1), BigInt(frame(2)) | 7n, true);
  cpu.view.setBigUint64(frame(2) + 16, BigInt(frame(3)) | 7n, true);
  cpu.view.setBigUint64(frame(3), BigInt(frame(5)) | 7n, true);
  cpu.view.setBigUint64(frame(3) + 256 * 8, BigInt(frame(6)) | 7n, true);
  cpu.setRoot(0, BigInt(frame(0)));
  const step = (...code: number[]): number => {
    cpu.bytes.set(code, frame(5));
    cpu.rip = CODE_VA;
    return cpu.step();
  };
  return { cpu, step };
}
const fx = (cpu: SoftwareProcessor): number => cpu.area + S.fx;
const xmm = (cpu: SoftwareProcessor, n: number): bigint[] => [0, 8].map(o => cpu.view.getBigUint64(fx(cpu) + FX.xmm + 16 * n + o, true));
const setXmm = (cpu: SoftwareProcessor, n: number, low: bigint, high = 0n): void => { [low, high].forEach((v, i) => cpu.view.setBigUint64(fx(cpu) + FX.xmm + 16 * n + 8 * i, v, true)); };
const mxcsr = (cpu: SoftwareProcessor): number => cpu.view.getUint32(fx(cpu) + FX.mxcsr, true);
const setMxcsr = (cpu: SoftwareProcessor, v: number): void => cpu.view.setUint32(fx(cpu) + FX.mxcsr, v, true);

// ---- the arithmetic of WebAssembly against the exact one
let seed = 12345;
const random = (n: number): number => { seed = Math.imul(seed, 1664525) + 1013904223 >>> 0; return Math.floor(seed / 0x100000000 * n); };
const scratch = new DataView(new ArrayBuffer(8));
function double(): bigint {
  const v = [() => random(2000) - 1000, () => (random(2000) - 1000) / 8, () => random(1e9) / 7, () => (random(2 ** 32) - 2 ** 31) * 2 ** random(30), () => (0.5 + random(1e9) / 1e9) * 2 ** (random(2100) - 1075), () => [0, -0, 1, Infinity, -Infinity, NaN, 2 ** -1022, 5e-324, Number.MAX_VALUE, 2 ** 31, -(2 ** 31), 2 ** 63][random(12)]!][random(6)]!();
  scratch.setFloat64(0, random(2) ? v : -v, true);
  return scratch.getBigUint64(0, true);
}
function single(): bigint {
  const v = [() => random(2000) - 1000, () => (random(2000) - 1000) / 8, () => random(1e9) / 7, () => (random(2 ** 32) - 2 ** 31) * 2 ** random(30), () => (0.5 + random(1e9) / 1e9) * 2 ** (random(280) - 150), () => [0, -0, 1, Infinity, -Infinity, NaN, 2 ** -126, 2 ** -149, 2 ** 31, 2147483520, -(2 ** 31), 16777217][random(12)]!][random(6)]!();
  scratch.setFloat32(0, v, true);
  return BigInt(scratch.getUint32(0, true));
}
const SLOW_TOO = /^((add|sub|mul|div|min|max|sqrt|cmp|round)(ps|ss|pd|sd)|(hadd|hsub|addsub)p[sd]|u?comis[sd]|cvt.*)$/;
const NEVER_SLOW = /^(cvtdq2pd|cvtpi2pd)$/;
const MODES = [0x1f80, 0x1f80, 0x1fa0, 0x1fa0, 0x9fc0, 0x9fe0, 0x3f80, 0x0f80, 0x1b80, 0x1f00];

describe('fast and slow paths agree', () => {
  const rows = sseRows.filter(r => SLOW_TOO.test(r.mnemonic) && !NEVER_SLOW.test(r.mnemonic));
  test('covers every such instruction', () => expect(new Set(rows.map(r => r.mnemonic)).size).toBe(36 + 6 + 4 + 20));
  test.each(rows.map(r => [`${r.mnemonic} ${r.opcode}`, r] as const))('%s', (_, row) => {
    const m = machine();
    const opcode = row.opcode.replace('0F3A', '0F 3A').split(' ').map(b => parseInt(b, 16)), wide = row.mnemonic.includes('si') && random(2) ? [0x48] : [];
    const doubles = /^cvt/.test(row.mnemonic) ? /^cvtt?(sd|pd)/.test(row.mnemonic) : /d$/.test(row.mnemonic);
    const prefix = [0x66, 0xf2, 0xf3].includes(opcode[0]!) ? [opcode.shift()!] : [];
    const value = (): bigint => doubles ? double() : single() | single() << 32n;
    for (let n = 0; n < 300; n++) {
      const code = [...prefix, ...wide, ...opcode, 0xc1, ...(row.operands.includes('Ib') ? [random(256)] : [])];
      const a = [value(), value(), value(), value()];
      if (random(4) === 0) { a[2] = a[0]!; a[3] = a[1]!; }
      agree(m, code, a, MODES[random(MODES.length)]!);
    }
  });
  const LEAST = 1n << 52n, ONE = 0x3ff0000000000000n;
  test.each<[string, number[], bigint, bigint, number, number]>([
    ['a denormal that rounds up to the least normal number underflows', [0xf2, 0x0f, 0x59, 0xc1], ONE - 1n, LEAST, 0x1fa0, 0x1fb0],
    ['a sum that FTZ flushes', [0xf2, 0x0f, 0x5c, 0xc1], LEAST + 1n, LEAST, 0x9fa0, 0x9fb0],
    ['the same without FTZ is exact', [0xf2, 0x0f, 0x5c, 0xc1], LEAST + 1n, LEAST, 0x1f80, 0x1f80],
    ['an integer of 54 bits', [0xf2, 0x48, 0x0f, 0x2a, 0xc1], 0n, (1n << 53n) + 1n, 0x1f80, 0x1fa0],
    ['an even one', [0xf2, 0x48, 0x0f, 0x2a, 0xc1], 0n, (1n << 53n) + 2n, 0x1f80, 0x1f80],
    ['2^31 - 1 as a single', [0x0f, 0x5b, 0xc1], 0n, 0x7fffffffn, 0x1f80, 0x1fa0],
    ['a product too small to tell exact from inexact', [0xf2, 0x0f, 0x59, 0xc1], 0x0600000000000001n, 0x3ff0000000000001n, 0x1f80, 0x1fa0],
    ['a root whose square is representable, but another number', [0xf2, 0x0f, 0x51, 0xc1], 0n, 0x3ff9000000000001n, 0x1f80, 0x1fa0],
    ['a quotient that multiplies back by rounding alone', [0xf2, 0x0f, 0x5e, 0xc1], ONE, 0x4008000000000000n, 0x1f80, 0x1fa0],
  ])('%s', (_, code, a, b, mode, after) => {
    const m = machine();
    agree(m, code, [a, 0n, b, 0n], mode);
    expect(mxcsr(m.cpu)).toBe(after);
  });
});

/** Runs code with operands a[0..1] in xmm0 and a[2..3] in xmm1, rcx and mm1, then the slow path of the same; compares all they change. */
function agree({ cpu, step }: ReturnType<typeof machine>, code: readonly number[], a: readonly bigint[], mode: number): void {
  const record = cpu.area + S.exitRecord + 0x80, decoded = newDecoded();
  const start = (): void => {
    setXmm(cpu, 0, a[0]!, a[1]);
    setXmm(cpu, 1, a[2]!, a[3]);
    cpu.gpr[0] = 0n;
    cpu.gpr[1] = a[2]!;
    cpu.view.setBigUint64(fx(cpu) + FX.st + 16, a[2]!, true);
    setMxcsr(cpu, mode);
    cpu.rflags = 0x202n;
  };
  const outcome = (left: boolean): object => ({ code, a, mode, left, xmm: xmm(cpu, 0), rax: cpu.gpr[0], mm: cpu.view.getBigUint64(fx(cpu) + FX.st, true), mxcsr: mxcsr(cpu), flags: cpu.rflags });
  start();
  const ours = outcome(step(...code) !== 0);
  start();
  expect(decode(Uint8Array.from([...code, ...Array<number>(15).fill(0)]), 0, 16, 0, false, decoded)).toBe(true);
  writeRecord(new Int32Array(cpu.memory.buffer), record, decoded);
  expect(ours).toEqual(outcome(sseInstruction(cpu, forms[decoded.handler - SPECIAL_COUNT]!, record, 0) !== 0));
}

describe('faults', () => {
  test('#NM comes before the operand\'s page fault', () => {
    const { cpu, step } = machine();
    cpu.gpr[0] = DATA_VA + 4096n;
    expect([step(0x0f, 0x28, 0x00), cpu.vector]).toEqual([EXIT.exception, 14]);
    cpu.taskSwitched = true;
    expect([step(0x0f, 0x28, 0x00), cpu.vector, cpu.rip]).toEqual([EXIT.exception, 7, CODE_VA]);
  });
  test('aligned moves are #GP off their boundary, unaligned ones are not', () => {
    const { cpu, step } = machine();
    cpu.gpr[0] = DATA_VA + 8n;
    expect([step(0x0f, 0x28, 0x00), cpu.vector, cpu.errorCode]).toEqual([EXIT.exception, 13, 0]);
    expect(step(0x0f, 0x10, 0x00)).toBe(0);
  });
  test('a store that crosses into an absent page changes nothing', () => {
    const { cpu, step } = machine();
    setXmm(cpu, 0, -1n & 0xffffffffffffffffn, 0xffffffffffffffffn);
    cpu.gpr[0] = DATA_VA + 4088n;
    expect([step(0x0f, 0x11, 0x00), cpu.vector, cpu.cr2]).toEqual([EXIT.exception, 14, DATA_VA + 4096n]);
    expect(cpu.read64(DATA_VA + 4088n)).toBe(0n);
  });
  test('an unmasked exception is #XM, with its flag and without a result', () => {
    const { cpu, step } = machine();
    setXmm(cpu, 0, 0x3ff0000000000000n);
    setMxcsr(cpu, 0x1d80);
    expect([step(0xf2, 0x0f, 0x5e, 0xc1), cpu.vector, mxcsr(cpu), xmm(cpu, 0)]).toEqual([EXIT.exception, 19, 0x1d84, [0x3ff0000000000000n, 0n]]);
  });
  test('prefixes that select nothing are undefined', () => {
    const { cpu, step } = machine();
    for (const code of [[0xf3, 0x0f, 0x54, 0xc1], [0xf2, 0x0f, 0x28, 0xc1], [0x66, 0xf2, 0x0f, 0x6f, 0xc1], [0xf0, 0x0f, 0x28, 0xc1], [0x0f, 0x38, 0x10, 0xc1], [0x66, 0x0f, 0x13, 0xc1]]) {
      expect([step(...code), cpu.vector]).toEqual([EXIT.exception, 6]);
    }
  });
});

describe('MMX', () => {
  test('registers lie in those of the x87 unit, which is marked full', () => {
    const { cpu, step } = machine(), at = fx(cpu) + FX.st + 16;
    cpu.gpr[0] = 0x1122334455667788n;
    cpu.view.setUint16(fx(cpu) + FX.fsw, 0x2800, true);
    expect(step(0x48, 0x0f, 0x6e, 0xc8)).toBe(0); // movq mm1, rax
    expect([cpu.view.getBigUint64(at, true), cpu.view.getUint16(at + 8, true), cpu.view.getUint8(fx(cpu) + FX.ftw), cpu.view.getUint16(fx(cpu) + FX.fsw, true)]).toEqual([0x1122334455667788n, 0xffff, 0xff, 0]);
    expect(step(0x0f, 0x77)).toBe(0); // emms
    expect(cpu.view.getUint8(fx(cpu) + FX.ftw)).toBe(0);
  });
  test('a pending x87 exception is #MF', () => {
    const { cpu, step } = machine();
    cpu.view.setUint16(fx(cpu) + FX.fsw, 0x80, true);
    expect([step(0x0f, 0xfc, 0xc1), cpu.vector]).toEqual([EXIT.exception, 16]);
    expect(step(0x66, 0x0f, 0xfc, 0xc1)).toBe(0);
  });
});

describe('operations with an answer on paper', () => {
  const run = (code: number[], a: [bigint, bigint], b: [bigint, bigint]): bigint[] => {
    const { cpu, step } = machine();
    setXmm(cpu, 0, ...a);
    setXmm(cpu, 1, ...b);
    expect(step(...code)).toBe(0);
    return xmm(cpu, 0);
  };
  test.each<[string, number[], [bigint, bigint], [bigint, bigint], [bigint, bigint]]>([
    ['pshufd 0x1b reverses', [0x66, 0x0f, 0x70, 0xc1, 0x1b], [0n, 0n], [0x0000000200000001n, 0x0000000400000003n], [0x0000000300000004n, 0x0000000100000002n]],
    ['palignr 20', [0x66, 0x0f, 0x3a, 0x0f, 0xc1, 20], [0x1716151413121110n, 0x1f1e1d1c1b1a1918n], [1n, 2n], [0x1b1a191817161514n, 0x1f1e1d1cn]],
    ['pmulhrsw of -1 and -1', [0x66, 0x0f, 0x38, 0x0b, 0xc1], [0x8000n, 0n], [0x8000n, 0n], [0x8000n, 0n]],
    ['psllq by 64', [0x66, 0x0f, 0xf3, 0xc1], [5n, 6n], [64n, 0n], [0n, 0n]],
    ['psraw by 2^40', [0x66, 0x0f, 0xe1, 0xc1], [0x80007fffn, 0n], [1n << 40n, 0n], [0xffff0000n, 0n]],
    ['phminposuw', [0x66, 0x0f, 0x38, 0x41, 0xc1], [9n, 9n], [0x0003000400050006n, 0xffff000200020007n], [0x50002n, 0n]],
    ['insertps lane 2 to 1, lane 3 cleared', [0x66, 0x0f, 0x3a, 0x21, 0xc1, 0x98], [1n, 0x0000000400000003n], [7n, 8n], [0x0000000800000001n, 3n]],
    ['psadbw', [0x66, 0x0f, 0xf6, 0xc1], [0x00ff00ff00ff00ffn, 1n], [0xff00ff00ff00ff00n, 3n], [2040n, 2n]],
  ])('%s', (_, code, a, b, result) => expect(run(code, a, b)).toEqual(result));

  test('pcmpistri finds a substring; pcmpestri measures with rax and rdx', () => {
    const { cpu, step } = machine(), text = (s: string): [bigint, bigint] => { const b = new Uint8Array(16); b.set(new TextEncoder().encode(s)); const v = new DataView(b.buffer); return [v.getBigUint64(0, true), v.getBigUint64(8, true)]; };
    setXmm(cpu, 0, ...text('hay'));
    setXmm(cpu, 1, ...text('needle in hay'));
    expect(step(0x66, 0x0f, 0x3a, 0x63, 0xc1, 0x0c)).toBe(0);
    expect([cpu.gpr[1], cpu.rflags & 0x8d5n]).toEqual([10n, 0xc1n]);
    cpu.gpr[0] = 1n << 32n | 2n;
    cpu.gpr[2] = 16n;
    expect(step(0x66, 0x0f, 0x3a, 0x61, 0xc1, 0x00)).toBe(0); // any of 'ha'
    expect(cpu.gpr[1]).toBe(10n);
    expect(step(0x66, 0x48, 0x0f, 0x3a, 0x61, 0xc1, 0x00)).toBe(0); // any of all sixteen, zeros included
    expect([cpu.gpr[1], cpu.rflags & 0xc0n]).toEqual([10n, 0n]);
  });
  test('maskmovdqu stores the chosen bytes alone', () => {
    const { cpu, step } = machine();
    cpu.write64(DATA_VA + 3n, 0x1111111111111111n);
    setXmm(cpu, 0, 0xa7a6a5a4a3a2a1a0n, 0n);
    setXmm(cpu, 1, 0x8000000000008000n, 0n);
    cpu.gpr[7] = DATA_VA + 3n;
    expect(step(0x66, 0x0f, 0xf7, 0xc1)).toBe(0);
    expect(cpu.read64(DATA_VA + 3n)).toBe(0xa71111111111a111n);
  });
});
