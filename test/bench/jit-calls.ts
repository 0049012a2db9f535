// Calls of many small functions, in an order without pattern: how the time of a call grows with the code there is, interpreted,
// translated into WebAssembly and into native code, and with the same bytes on the host's own processor, where that is x86-64 and a C compiler is installed.
//   node bin/run-node26.mjs test/bench/jit-calls.ts [functions ...]
// Prints nanoseconds per call, of the best round; exits 1 when results differ.
import { compileInterpreter } from '../../hypervisor/cpu/interpreter.ts';
import { layoutMemory } from '../../hypervisor/cpu/layout.ts';
import { createProcessor } from '../../hypervisor/cpu/processor.ts';
import { EXIT } from '../../hypervisor/cpu/processor-api.ts';
import { addressSpace } from '../../hypervisor/cpu/test-machine.ts';
import { nativeOutput } from './native-code.ts';

const CODE_VA = 0x400000n, DATA_VA = 0x10000000n, STACK_VA = 0x20000000n, DATA_BYTES = 4096, STACK_BYTES = 16384;
/** Often enough that each function gets the largest translation there is. */
const RUNS = 60_000, ROUNDS = 12;
/** So many calls are enough where nothing gets faster. */
const CALLS = 2_000_000;
const INT3 = 0xcc, RET = 0xc3, NOP = 0x90;
const module = compileInterpreter(0);

interface Program { readonly code: readonly number[]; readonly calls: number; /** Of the instruction that ends it. */ readonly end: number }
/** rcx: how often all functions are called; rsi: the table; rax: what comes of it. */
function program(functions: number): Program {
  let seed = 12345;
  const below = (n: number): number => { seed = Math.imul(seed, 1103515245) + 12345 & 0x7fffffff; return (seed >>> 8) % n; };
  const shuffled = (n: number): number[] => {
    const order = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) { const j = below(i + 1), other = order[j]!; order[j] = order[i]!; order[i] = other; }
    return order;
  };
  const code: number[] = [], starts = new Map<string, number>(), fixes: { readonly at: number; readonly to: string }[] = [];
  const word = (n: number): number[] => [n & 255, n >> 8 & 255, n >> 16 & 255, n >> 24 & 255];
  const call = (to: string): void => { code.push(0xe8, 0, 0, 0, 0); fixes.push({ at: code.length, to }); };
  const begin = (name: string): void => { while (code.length % 16) code.push(NOP); starts.set(name, code.length); };
  const groups = Math.ceil(functions / 4);
  begin('all');
  for (const g of shuffled(groups)) call(`group ${g}`);
  code.push(0x48, 0xff, 0xc9, 0x0f, 0x85, ...word(-(code.length + 9)));                       // dec rcx; jnz to the start
  const end = code.push(INT3) - 1, order = shuffled(functions);
  for (let g = 0; g < groups; g++) {
    begin(`group ${g}`);
    code.push(0x41, 0x54, 0x49, 0x89, 0xc4);                                                  // push r12; mov r12, rax
    for (const f of order.slice(4 * g, 4 * g + 4)) { call(`function ${f}`); code.push(0x4c, 0x01, 0xe0); }   // add rax, r12
    code.push(0x41, 0x5c, RET);
  }
  for (let f = 0; f < functions; f++) {
    begin(`function ${f}`);
    code.push(0x55, 0x48, 0x89, 0xe5, 0x53);                                                  // push rbp; mov rbp, rsp; push rbx
    for (let n = 0; n < 8; n++) {
      const at = word(8 * below(DATA_BYTES / 8));
      code.push(...[
        [0x48, 0x33, 0x86, ...at],                                                            // xor rax, [rsi + at]
        [0x48, 0x01, 0x86, ...at],                                                            // add [rsi + at], rax
        [0x48, 0x8d, 0x5c, 0x03, n + 1],                                                      // lea rbx, [rbx + rax + n + 1]
        [0x48, 0x85, 0xc0, 0x79, 4, 0x48, 0x83, 0xc0, 3],                                     // test rax, rax; jns +4; add rax, 3
        [0x48, 0xd1, 0xc0],                                                                   // rol rax, 1
      ][below(5)]!);
    }
    code.push(0x5b, 0x5d, RET);
  }
  for (const { at, to } of fixes) code.splice(at - 4, 4, ...word(starts.get(to)! - at));
  return { code, calls: functions + groups, end };
}

interface Result { readonly ns: number; readonly state: string }
/** @param runs in each round @param state what comes of one run, from a table of zeros */
function guest({ code, calls }: Program, jit: 'off' | 'on' | 'native', runs: number, rounds: number): Result {
  const codePages = Math.ceil(code.length / 4096), layout = layoutMemory(1, codePages + 64), pages = layout.totalBytes / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const cpu = createProcessor({ memory, layout, vcpu: 0, slot: 0, module, jit, host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {} } });
  const { root, map } = addressSpace(cpu.view, layout);
  for (let p = 0; p < codePages; p++) cpu.bytes.set(code.slice(4096 * p, 4096 * (p + 1)), map(CODE_VA + BigInt(4096 * p)));
  const data = map(DATA_VA);
  for (let p = 0; p < STACK_BYTES; p += 4096) map(STACK_VA + BigInt(p));
  cpu.setRoot(0, BigInt(root));
  const go = (count: number): number => {
    cpu.rip = CODE_VA;
    cpu.gpr[0] = 1n; cpu.gpr[1] = BigInt(count); cpu.gpr[3] = 0n; cpu.gpr[4] = STACK_VA + BigInt(STACK_BYTES); cpu.gpr[6] = DATA_VA;
    const start = performance.now();
    if (cpu.run() !== EXIT.softwareInterrupt) throw new Error(`left with vector ${cpu.vector} at ${cpu.rip.toString(16)}`);
    return performance.now() - start;
  };
  let ms = Infinity;
  for (let round = 0; round < rounds; round++) ms = Math.min(ms, go(runs));
  cpu.bytes.fill(0, data, data + DATA_BYTES);
  go(1);
  let sum = 0n;
  for (let at = data; at < data + DATA_BYTES; at += 8) sum = BigInt.asUintN(64, sum + cpu.view.getBigUint64(at, true));
  cpu.release();
  return { ns: ms * 1e6 / (runs * calls), state: `${cpu.gpr[0]} ${sum}` };
}

/** The same on the host's processor. */
function native({ code, calls, end }: Program): Result | undefined {
  const runs = Math.ceil(10 * CALLS / calls), output = nativeOutput(`#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
static unsigned long table[${DATA_BYTES / 8}];
static unsigned long go(void *code, unsigned long count) {
  unsigned long x = 1;
  asm volatile("sub $128, %%rsp; call *%3; add $128, %%rsp" : "+a"(x), "+c"(count) : "S"(table), "r"(code) : "rbx", "r12", "memory", "cc");
  return x;
}
int main(int argc, char **argv) {
  void *code = mmap(0, ${code.length}, PROT_READ | PROT_EXEC, MAP_PRIVATE, open(argv[1], O_RDONLY), 0);
  struct timespec a, b; unsigned long sum = 0;
  go(code, ${Math.ceil(runs / 10)});
  clock_gettime(CLOCK_MONOTONIC, &a);
  go(code, ${runs});
  clock_gettime(CLOCK_MONOTONIC, &b);
  memset(table, 0, sizeof table);
  unsigned long x = go(code, 1);
  for (int i = 0; i < ${DATA_BYTES / 8}; i++) sum += table[i];
  printf("%.9f %lu %lu\\n", (b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) / 1e9, x, sum);
}
`, Uint8Array.from(code.with(end, RET)));
  if (!output) return undefined;
  const [seconds, ...state] = output;
  return { ns: Number(seconds) * 1e9 / (runs * calls), state: state.join(' ') };
}

const sizes = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [100, 1000, 3000];
if (!sizes.every(n => Number.isInteger(n) && n > 0 && n <= 20_000)) { console.error('usage: jit-calls.ts [functions ...], each from 1 to 20000'); process.exit(2); }
for (const functions of sizes) {
  const p = program(functions), slow = guest(p, 'off', Math.ceil(CALLS / p.calls), 2), fast = guest(p, 'on', RUNS / ROUNDS, ROUNDS), own = guest(p, 'native', RUNS / ROUNDS, ROUNDS), bare = native(p);
  console.log(`${functions} functions, ${Math.ceil(p.code.length / 1024)} KiB: interpreted ${slow.ns.toFixed(0)} ns a call, WebAssembly ${fast.ns.toFixed(1)}, native code ${own.ns.toFixed(1)}${bare ? `, bare ${bare.ns.toFixed(1)}` : ''}`);
  for (const other of [fast, own, bare]) if (other && other.state !== slow.state) { console.error(`results differ: ${slow.state} and ${other.state}`); process.exitCode = 1; }
}
