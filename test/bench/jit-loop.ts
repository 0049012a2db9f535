// A loop of integer work and memory accesses (xorshift, table update, table read), with and without translation.
//   node test/bench/jit-loop.ts [million iterations]
// Prints nanoseconds per iteration of both tiers and whether they agree; exits 1 when they do not.
import { compileInterpreter } from '../../hypervisor/cpu/interpreter.ts';
import { layoutMemory } from '../../hypervisor/cpu/layout.ts';
import { createProcessor } from '../../hypervisor/cpu/processor.ts';
import { EXIT } from '../../hypervisor/cpu/processor-api.ts';

const MILLIONS = Number(process.argv[2] ?? 20), ITERATIONS = BigInt(MILLIONS) * 1_000_000n;
const CODE_VA = 0x400000n, TABLE_VA = 0x10000000n, TABLE_PAGES = 128;
const module = compileInterpreter(0);

/** rax x, rbx table, rcx count, rdx sum; rsi scratch. */
const code = [
  0x48, 0x89, 0xc6, 0x48, 0xc1, 0xe6, 13, 0x48, 0x31, 0xf0,       // again: x ^= x << 13
  0x48, 0x89, 0xc6, 0x48, 0xc1, 0xee, 7, 0x48, 0x31, 0xf0,        // x ^= x >> 7
  0x48, 0x89, 0xc6, 0x48, 0xc1, 0xe6, 17, 0x48, 0x31, 0xf0,       // x ^= x << 17
  0x0f, 0xb7, 0xf0, 0x48, 0x01, 0x04, 0xf3,                       // movzx esi, ax; add [rbx + rsi*8], rax
  0x48, 0x89, 0xc6, 0x48, 0xc1, 0xee, 20, 0x0f, 0xb7, 0xf6,       // mov rsi, rax; shr rsi, 20; movzx esi, si
  0x48, 0x03, 0x14, 0xf3,                                         // add rdx, [rbx + rsi*8]
  0x48, 0xff, 0xc9, 0x75, 0xc8,                                   // dec rcx; jnz again
  0xcc,
];
code[code.length - 2] = 256 - (code.length - 1);

function run(jit: 'off' | 'on') {
  const layout = layoutMemory(1, TABLE_PAGES + 16), pages = layout.totalBytes / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const cpu = createProcessor({ memory, layout, vcpu: 0, slot: 0, module, jit, host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {} } });
  let next = layout.first;
  const frame = (): number => next++ * 4096, root = frame();
  const map = (va: bigint): number => {
    let table = root;
    for (const shift of [39n, 30n, 21n]) {
      const at = table + Number(va >> shift & 511n) * 8;
      if (!(cpu.view.getBigUint64(at, true) & 1n)) cpu.view.setBigUint64(at, BigInt(frame()) | 7n, true);
      table = Number(cpu.view.getBigUint64(at, true) & 0xfffff000n);
    }
    const p = frame();
    cpu.view.setBigUint64(table + Number(va >> 12n & 511n) * 8, BigInt(p) | 7n, true);
    return p;
  };
  cpu.bytes.set(code, map(CODE_VA));
  for (let n = 0; n < TABLE_PAGES; n++) map(TABLE_VA + BigInt(n * 4096));
  cpu.setRoot(0, BigInt(root));
  let best = Infinity;
  for (let round = 0; round < 4; round++) {
    cpu.rip = CODE_VA;
    cpu.gpr.set([88172645463325252n, ITERATIONS, 0n, TABLE_VA]);
    const start = performance.now();
    if (cpu.run() !== EXIT.softwareInterrupt) throw new Error(`left with vector ${cpu.vector} at ${cpu.rip.toString(16)}`);
    best = Math.min(best, performance.now() - start);
  }
  return { ns: best * 1e6 / Number(ITERATIONS), state: [...cpu.gpr.slice(0, 8), cpu.rflags].join(' '), counters: cpu.counters() };
}

const slow = run('off'), fast = run('on');
console.log(`interpreter ${slow.ns.toFixed(2)} ns/iteration, translated ${fast.ns.toFixed(2)} ns/iteration, ratio ${(slow.ns / fast.ns).toFixed(1)}`);
console.log(Object.entries(fast.counters).filter(([n]) => n.startsWith('jit')).map(([n, v]) => `${n} ${v}`).join(', '));
if (slow.state !== fast.state) { console.error(`states differ:\n${slow.state}\n${fast.state}`); process.exitCode = 1; }
