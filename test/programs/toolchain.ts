// Programs for tests, compiled for wasm32-wasi from C with clang (Debian: clang lld wasi-libc libclang-rt-dev-wasm32) and
// from Rust (Debian: rustc libstd-rust-dev-wasm32; or rustup's target wasm32-wasip1) and Go (from 1.21 on; Debian 12 has one in its
// backports: golang-1.23-go).
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
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

/** The Rust compilers and targets that there may be: preview 1 was renamed, and Debian's compiler may stand behind another. */
const RUST = ['rustc', '/usr/bin/rustc'].flatMap(command => ['wasm32-wasip1', 'wasm32-wasi'].map(target => [command, target] as const));
/** @returns the module's path, or undefined with a word on stderr where no Rust for WASI is here @throws Error with the compiler's words */
export function compileRust(folder: string, name: string): string | undefined {
  const hello = join(folder, 'hello.rs'), out = join(folder, `${name}.wasm`);
  writeFileSync(hello, 'fn main() { println!("x"); }\n');
  const found = RUST.find(([command, target]) => spawnSync(command, ['--target', target, '-o', join(folder, 'hello.wasm'), hello]).status === 0);
  if (!found) { process.stderr.write('\n*** SKIPPED: programs compiled from Rust: install rustc libstd-rust-dev-wasm32\n'); return undefined; }
  const { status, stderr } = spawnSync(found[0], ['--target', found[1], '-O', '-o', out, join(import.meta.dirname, `${name}.rs`)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return out;
}

/** Go's compilers that there may be: Debian's have places of their own. */
const GO = ['go', ...['1.24', '1.23', '1.22', '1.21'].map(version => `/usr/lib/go-${version}/bin/go`)];
/** @returns the module's path, or undefined with a word on stderr where no Go for WASI is here @throws Error with the compiler's words */
export function compileGo(folder: string, name: string): string | undefined {
  const out = join(folder, `${name}.wasm`), env = { ...process.env, GOOS: 'wasip1', GOARCH: 'wasm', GOTOOLCHAIN: 'local', GOFLAGS: '', GO111MODULE: 'off', GOCACHE: join(folder, 'go') };
  const go = GO.find(command => / go1\.(2[1-9]|[3-9]\d)/.test(spawnSync(command, ['version'], { encoding: 'utf8' }).stdout ?? ''));
  if (go === undefined) { process.stderr.write('\n*** SKIPPED: programs compiled from Go: install golang-1.23-go (Debian 12: from its backports)\n'); return undefined; }
  const { status, stderr } = spawnSync(go, ['build', '-o', out, join(import.meta.dirname, `${name}.go`)], { encoding: 'utf8', env });
  if (status !== 0) throw new Error(stderr);
  return out;
}
