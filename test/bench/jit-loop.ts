// Loops of integer work, in registers alone and with memory (a table that is updated and read): interpreted, translated into WebAssembly, translated
// into native code, and the same bytes on the host's own processor, where that is x86-64 and a C compiler is installed.
//   node test/bench/jit-loop.ts [million iterations]
// Prints nanoseconds per iteration and the translated loops' shares of the bare processor's speed; exits 1 when results differ.
import { compileInterpreter } from '../../hypervisor/cpu/interpreter.ts';
import { layoutMemory } from '../../hypervisor/cpu/layout.ts';
import { createProcessor } from '../../hypervisor/cpu/processor.ts';
import { EXIT } from '../../hypervisor/cpu/processor-api.ts';
import { addressSpace } from '../../hypervisor/cpu/test-machine.ts';
import { nativeOutput } from './native-code.ts';

const MILLIONS = Number(process.argv[2] ?? 50), ITERATIONS = BigInt(MILLIONS) * 1_000_000n, ROUNDS = 4;
const CODE_VA = 0x400000n, TABLE_VA = 0x10000000n, TABLE_PAGES = 128, SEED = 88172645463325252n;
const module = compileInterpreter(0);

/** rax x, rbx table, rcx count, rdx sum; rsi scratch. */
const XORSHIFT = [
  0x48, 0x89, 0xc6, 0x48, 0xc1, 0xe6, 13, 0x48, 0x31, 0xf0,       // x ^= x << 13
  0x48, 0x89, 0xc6, 0x48, 0xc1, 0xee, 7, 0x48, 0x31, 0xf0,        // x ^= x >> 7
  0x48, 0x89, 0xc6, 0x48, 0xc1, 0xe6, 17, 0x48, 0x31, 0xf0,       // x ^= x << 17
];
const LOOPS: Readonly<Record<string, readonly number[]>> = {
  registers: [
    ...XORSHIFT,
    0x48, 0x0f, 0xaf, 0xf0, 0x48, 0x01, 0xf2,                     // imul rsi, rax; add rdx, rsi
    0xf6, 0xc1, 8, 0x74, 3, 0x48, 0xff, 0xc2,                     // test cl, 8; jz +3; inc rdx
  ],
  memory: [
    ...XORSHIFT,
    0x0f, 0xb7, 0xf0, 0x48, 0x01, 0x04, 0xf3,                     // movzx esi, ax; add [rbx + rsi*8], rax
    0x48, 0x89, 0xc6, 0x48, 0xc1, 0xee, 20, 0x0f, 0xb7, 0xf6,     // mov rsi, rax; shr rsi, 20; movzx esi, si
    0x48, 0x03, 0x14, 0xf3,                                       // add rdx, [rbx + rsi*8]
  ],
};
/** Counts down in rcx. */
const looped = (body: readonly number[]): number[] => [...body, 0x48, 0xff, 0xc9, 0x75, 256 - (body.length + 5)];

interface Result { readonly ns: number; /** x and the sum. */ readonly state: string; readonly counters?: Record<string, number> }

/** The same on the host's processor. */
function native(code: readonly number[]): Result | undefined {
  const output = nativeOutput(`#include <stdio.h>
#include <time.h>
static unsigned long table[${TABLE_PAGES} * 512];
int main(void) {
  double best = 1e9; unsigned long x, sum;
  for (int round = 0; round < ${ROUNDS}; round++) {
    unsigned long count = ${ITERATIONS}; struct timespec a, b;
    x = ${SEED}u; sum = 0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    asm volatile(".byte ${code.join(',')}" : "+a"(x), "+c"(count), "+d"(sum) : "b"(table) : "rsi", "memory", "cc");
    clock_gettime(CLOCK_MONOTONIC, &b);
    double s = (b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) / 1e9;
    if (s < best) best = s;
  }
  printf("%.9f %lu %lu\\n", best, x, sum);
}
`, Uint8Array.from(code));
  if (!output) return undefined;
  const [seconds, ...state] = output;
  return { ns: Number(seconds) * 1e9 / Number(ITERATIONS), state: state.join(' ') };
}

function run(code: readonly number[], jit: 'off' | 'on' | 'native'): Result {
  const layout = layoutMemory(1, TABLE_PAGES + 16), pages = layout.totalBytes / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const cpu = createProcessor({ memory, layout, vcpu: 0, slot: 0, module, jit, host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {} } });
  const { root, map } = addressSpace(cpu.view, layout);
  cpu.bytes.set([...code, 0xcc], map(CODE_VA));
  for (let n = 0; n < TABLE_PAGES; n++) map(TABLE_VA + BigInt(n * 4096));
  cpu.setRoot(0, BigInt(root));
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    cpu.rip = CODE_VA;
    cpu.gpr.set([SEED, ITERATIONS, 0n, TABLE_VA]);
    const start = performance.now();
    if (cpu.run() !== EXIT.softwareInterrupt) throw new Error(`left with vector ${cpu.vector} at ${cpu.rip.toString(16)}`);
    best = Math.min(best, performance.now() - start);
  }
  cpu.release();
  return { ns: best * 1e6 / Number(ITERATIONS), state: `${cpu.gpr[0]} ${cpu.gpr[2]}`, counters: cpu.counters() };
}

for (const [name, loop] of Object.entries(LOOPS)) {
  const code = looped(loop), slow = run(code, 'off'), fast = run(code, 'on'), own = run(code, 'native'), bare = native(code);
  console.log(`${name}: interpreted ${slow.ns.toFixed(2)} ns an iteration, WebAssembly ${fast.ns.toFixed(2)}, native code ${own.ns.toFixed(2)}`
    + (bare ? `, bare ${bare.ns.toFixed(2)}: ${(bare.ns / fast.ns).toFixed(2)} and ${(bare.ns / own.ns).toFixed(2)} of that` : ''));
  console.log(`  ${Object.entries({ ...fast.counters, ...own.counters }).filter(([n]) => /^(jit|native)/.test(n)).map(([n, v]) => `${n} ${v}`).join(', ')}`);
  for (const other of [fast, own, bare]) if (other && other.state !== slow.state) { console.error(`results differ: ${slow.state} and ${other.state}`); process.exitCode = 1; }
}
