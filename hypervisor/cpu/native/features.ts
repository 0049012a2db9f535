// What the host's processor has, asked of itself.
import type { ExecutableMemory } from './executable-memory.ts';
import type { HostFeature } from './instructions.ts';

type Bit = readonly [leaf: number, register: number, bit: number];
/** Leaf, register and bit of CPUID (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E). */
const BITS: Readonly<Record<HostFeature, Bit>> = {
  bmi1: [7, 1, 3], bmi2: [7, 1, 8], sha: [7, 1, 29], abm: [0x8000_0001, 2, 5], movbe: [1, 2, 22], pclmulqdq: [1, 2, 1],
};
/** Of x86-64-v2 what is not older than 64-bit mode, and what sets GS's base: SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF; FSGSBASE. */
const NEEDED: readonly Bit[] = [[1, 2, 0], [1, 2, 9], [1, 2, 13], [1, 2, 19], [1, 2, 20], [1, 2, 23], [0x8000_0001, 2, 0], [7, 1, 0]];

const CODE = 4096, NODE = CODE + 512, OUT = 64, END = 2 * CODE;
/** push rbx; mov eax, leaf; xor ecx, ecx; cpuid; [rdi + OUT] = eax, ebx, ecx, edx; pop rbx; ret. twalk(3) gives the node in rdi. */
function ask(code: ExecutableMemory, leaf: number): Uint32Array {
  const view = new DataView(code.bytes.buffer), store = (modrm: number, n: number): number[] => [0x89, modrm, OUT + 4 * n];
  code.bytes.set([0x53, 0xb8, ...le32(leaf), 0x31, 0xc9, 0x0f, 0xa2, ...store(0x47, 0), ...store(0x5f, 1), ...store(0x4f, 2), ...store(0x57, 3), 0x5b, 0xc3], CODE);
  code.callable(CODE, NODE)();
  return Uint32Array.from([0, 1, 2, 3], n => view.getUint32(NODE + OUT + 4 * n, true));
}
const le32 = (n: number): number[] => [n & 255, n >> 8 & 255, n >> 16 & 255, n >>> 24];

/** Undefined where native code cannot be run. Uses the memory before anything else does, and leaves zeros. */
export function hostFeatures(code: ExecutableMemory): ReadonlySet<HostFeature> | undefined {
  code.bytes.fill(0, CODE, END);
  const leaves = new Map([1, 7, 0x8000_0001].map(leaf => [leaf, ask(code, leaf)] as const)), has = ([leaf, register, bit]: Bit): boolean => (leaves.get(leaf)![register]! >>> bit & 1) !== 0;
  code.bytes.fill(0, CODE, END);
  return NEEDED.every(has) ? new Set((Object.keys(BITS) as HostFeature[]).filter(f => has(BITS[f]))) : undefined;
}
