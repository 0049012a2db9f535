// Programs for tests, compiled from C with clang for wasm32-wasi (Debian: clang lld wasi-libc libclang-rt-dev-wasm32).
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Whether C can be compiled here; says on stderr why tests do not run where it cannot. */
export function hasToolchain(folder: string): boolean {
  const probe = spawnSync('clang', ['--target=wasm32-wasi', '-x', 'c', '-', '-o', join(folder, 'probe.wasm')], { input: '#include <stdio.h>\nint main(void) { puts("x"); }\n', encoding: 'utf8' });
  if (probe.status === 0) return true;
  process.stderr.write(`\n*** SKIPPED: programs compiled from C: install clang lld wasi-libc libclang-rt-dev-wasm32 (${probe.error?.message ?? probe.stderr.split('\n')[0]})\n`);
  return false;
}
/** @returns the module's path @throws Error with the compiler's words */
export function compile(folder: string, name: string, ...flags: string[]): string {
  const out = join(folder, `${name}.wasm`), { status, stderr } = spawnSync('clang', ['--target=wasm32-wasi', '-O2', ...flags, '-o', out, join(import.meta.dirname, `${name}.c`)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return out;
}
