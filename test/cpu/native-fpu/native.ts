// The host's own floating-point unit as an oracle: compiles harness.c and runs batches of single instructions.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface NativeCase {
  /** Instruction bytes; a memory operand is [rsi]. */
  code: readonly number[];
  rax: bigint;
  eflags: number;
  /** FXSAVE image (512 bytes). */
  image: Uint8Array;
  /** The bytes at [rsi] (up to 128). */
  memory: Uint8Array;
}

export interface NativeResult {
  status: 'done' | 'undefined' | 'fault';
  /** MXCSR at the fault. */
  mxcsr: number;
  rax: bigint;
  eflags: number;
  image: Uint8Array;
  memory: Uint8Array;
}

const IN_BYTES = 16 + 8 + 8 + 512 + 128;
const OUT_BYTES = 8 + 8 + 8 + 512 + 128;
const STATUS = ['done', 'undefined', 'fault'] as const;

export interface NativeFpu { run(cases: readonly NativeCase[]): NativeResult[]; close(): void }

/** Compiles the harness; a string tells why this host cannot. */
export function openNativeFpu(): NativeFpu | string {
  if (process.arch !== 'x64' || process.platform !== 'linux') return `host is ${process.platform}/${process.arch}, not linux/x64`;
  const folder = mkdtempSync(join(tmpdir(), 'native-fpu-'));
  const close = (): void => rmSync(folder, { recursive: true, force: true });
  const program = join(folder, 'harness');
  try {
    execFileSync('gcc', ['-O1', '-mno-red-zone', '-o', program, join(import.meta.dirname, 'harness.c')], { stdio: 'pipe' });
  } catch (error) {
    close();
    return `gcc cannot compile the harness: ${String(error)}`;
  }
  return { run: (cases) => runBatch(program, cases), close };
}

function runBatch(program: string, cases: readonly NativeCase[]): NativeResult[] {
  const input = Buffer.alloc(cases.length * IN_BYTES);
  cases.forEach((c, n) => {
    const at = n * IN_BYTES;
    input[at] = c.code.length;
    input.set(c.code, at + 1);
    input.writeBigUInt64LE(BigInt.asUintN(64, c.rax), at + 16);
    input.writeBigUInt64LE(BigInt(c.eflags), at + 24);
    input.set(c.image, at + 32);
    input.set(c.memory, at + 544);
  });
  const done = spawnSync(program, [], { input, maxBuffer: cases.length * OUT_BYTES + 4096 });
  if (done.status !== 0 || done.stdout.length !== cases.length * OUT_BYTES) throw new Error(`native harness failed: status ${done.status}, signal ${done.signal}`);
  return cases.map((_, n) => {
    const o = done.stdout.subarray(n * OUT_BYTES, (n + 1) * OUT_BYTES);
    return {
      status: STATUS[o.readUInt32LE(0)] ?? 'fault', mxcsr: o.readUInt32LE(4), rax: o.readBigUInt64LE(8), eflags: Number(o.readBigUInt64LE(16)),
      image: o.subarray(24, 536), memory: o.subarray(536, 664),
    };
  });
}
