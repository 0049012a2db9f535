// Finds Node 26 (the npm dependency `node`) and runs things with it. Written for any Node from 20 on.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const WANTED_MAJOR = 26;

const executable = folder => join(folder, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');

/** Folder of the dependency `node`, or undefined. */
function nodeFolder() {
  try { return dirname(createRequire(import.meta.url).resolve('node/package.json')); } catch { return undefined; }
}

/** Path of Node 26, or undefined if the dependency is not installed. */
function findNode() {
  if (Number(process.versions.node.split('.')[0]) >= WANTED_MAJOR) return process.execPath;
  const folder = nodeFolder();
  return folder && existsSync(executable(folder)) ? executable(folder) : undefined;
}

/** Where npm was told to run no install scripts, the dependency is there without its binary: its own script gets it. */
function completeNode() {
  const folder = nodeFolder();
  if (!folder || existsSync(executable(folder))) return;
  process.stderr.write('xenolith: fetching Node 26, this happens once ...\n');
  spawnSync(process.execPath, ['installArchSpecificPackage.js'], { cwd: folder, stdio: ['ignore', 2, 2] });
}

const dependenciesThere = () => ['fastify', 'zod', 'pino'].every(name => {
  try { createRequire(import.meta.url).resolve(`${name}/package.json`); return true; } catch { return false; }
});

/** Node 26 with every dependency, installed first in a fresh checkout. Ends the process where that fails. */
export function requireNode() {
  if (dependenciesThere()) completeNode();
  const found = findNode();
  if (found && dependenciesThere()) return found;
  const lock = existsSync(join(root, 'package-lock.json'));
  const command = lock ? 'ci' : 'install';
  process.stderr.write(`xenolith: installing dependencies (npm ${command}), this happens once ...\n`);
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  const result = spawnSync('npm', [command, ...quiet], { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.status === 0) completeNode();
  const node = result.status === 0 && dependenciesThere() ? findNode() : undefined;
  if (node) return node;
  process.stderr.write(result.error ? `xenolith: npm cannot be run (${result.error.message}): install npm, then run it again\n`
    : `xenolith: the dependencies could not be installed: run "npm ${command}" in ${root} and see what it says\n`);
  process.exit(1);
}

/**
 * How V8 treats WebAssembly. Calls between translations of guest code all go through one table, to ever other functions:
 * counting them, for inlining, costs much and gives nothing (hypervisor/boot/compile-now.ts).
 */
const FLAGS = ['--no-wasm-inlining', '--no-wasm-inlining-call-indirect',
  // MiB. Memories of guests count for the host's heap, which is marked over and over when they come near its limit.
  '--max-old-space-size=65536',
  // node:ffi says that it is experimental; who uses it does without where it is not there (hypervisor/cpu/native/executable-memory.ts).
  '--disable-warning=ExperimentalWarning'];

const ORPHAN_LOOK_MS = 1000;

/**
 * Where Node keeps what it compiled, and TypeScript without its types, for the next command and the next domain's thread:
 * it has to be said before the first file is read, or that one alone brings in what takes types off. Unusable: nothing is kept.
 */
const compiled = () => {
  const base = process.env['XDG_CACHE_HOME'];
  return join(base?.startsWith('/') ? base : join(homedir(), '.cache'), 'xenolith', 'compiled');
};

/** Runs Node 26 with these arguments in this process's place: same terminal, signals, exit code. */
export function runNode(args, env = {}) {
  const child = spawn(requireNode(), [...FLAGS, ...args], { stdio: 'inherit', env: { NODE_COMPILE_CACHE: compiled(), ...process.env, ...env } });
  // The terminal sends Ctrl-C to the child too; this process only has to outlive it.
  for (const signal of ['SIGINT', 'SIGQUIT']) process.on(signal, () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  // npm that is told to end (kill, not Ctrl-C) does so alone: what it ran would go on.
  if (process.env['npm_lifecycle_event'] !== undefined) {
    const npm = process.ppid, look = setInterval(() => { if (process.ppid !== npm) { clearInterval(look); child.kill('SIGTERM'); } }, ORPHAN_LOOK_MS).unref();
  }
  child.on('error', error => { process.stderr.write(`xenolith: ${error.message}\n`); process.exit(1); });
  child.on('exit', (code, signal) => {
    if (!signal) process.exit(code ?? 1);
    for (const name of ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

/** The module as built JavaScript in a package, as TypeScript in a checkout. */
export function entry(path) {
  const source = join(root, `${path}.ts`);
  const built = join(root, 'dist', `${path}.js`);
  return existsSync(source) && !root.includes('node_modules') ? source : built;
}
