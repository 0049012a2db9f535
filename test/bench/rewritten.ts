// What rewriting a module costs: programs/compute.c as compiled and as rewritten for a vCPU, by turns in one process,
// each kind of work by its CPU time, best of all rounds. No domain is involved.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ADDED_IMPORTS, rewriteModule } from '../../hypervisor/cpu/program/rewrite.ts';
import { compile, hasToolchain } from '../programs/toolchain.ts';

const BASE = 0x20_0000, MEMORY_PAGES = 512, LIMIT_PAGES = 480, ROUNDS = 3;
class Exit extends Error {}

function run(module: Uint8Array<ArrayBuffer>, rewritten: boolean): [string, number][] {
  const shared = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES, shared: true });
  let memory = shared, base = rewritten ? BASE : 0, pages = 0, text = '';
  const cpuNs = (): bigint => { const { user, system } = process.cpuUsage(); return BigInt(user + system) * 1000n; };
  const calls: Record<string, (...args: never[]) => number> = {
    clock_time_get: (_id: number, _precision: bigint, out: number) => { new DataView(memory.buffer).setBigUint64(base + out, cpuNs(), true); return 0; },
    fd_write: (_fd: number, vectors: number, count: number, out: number) => {
      const view = new DataView(memory.buffer);
      let total = 0;
      for (let i = 0; i < count; i++) {
        const at = view.getUint32(base + vectors + 8 * i, true), length = view.getUint32(base + vectors + 8 * i + 4, true);
        text += Buffer.from(new Uint8Array(memory.buffer, base + at, length).slice()).toString();
        total += length;
      }
      view.setUint32(base + out, total, true);
      return 0;
    },
    proc_exit: () => { throw new Exit(); },
  };
  const form = rewritten ? rewriteModule(module, BASE) : undefined, compiled = new WebAssembly.Module(form?.bytes ?? module);
  pages = form?.minPages ?? 0;
  const grow = (by: number): number => { const before = pages; if (before + by > LIMIT_PAGES) return -1; pages += by; return before; };
  const imports: WebAssembly.Imports = { [ADDED_IMPORTS]: { memory: shared, attention: () => {}, size: () => pages, grow } };
  for (const { module: from, name } of WebAssembly.Module.imports(compiled)) if (from !== ADDED_IMPORTS) (imports[from] ??= {})[name] = calls[name] ?? (() => 0);
  const instance = new WebAssembly.Instance(compiled, imports);
  if (!rewritten) memory = instance.exports['memory'] as WebAssembly.Memory;
  try { (instance.exports['_start'] as () => void)(); } catch (error) { if (!(error instanceof Exit)) throw error; }
  return [...text.matchAll(/(\w+) \d+ (\d+)/g)].map(m => [m[1]!, Number(m[2])]);
}

const dir = mkdtempSync(join(tmpdir(), 'bench-'));
if (!hasToolchain(dir)) process.exit(1);
const module = new Uint8Array(readFileSync(compile(dir, 'compute'))), best = [new Map<string, number>(), new Map<string, number>()] as const;
for (let round = 0; round < ROUNDS; round++) for (const [form, times] of best.entries()) for (const [name, us] of run(module, form === 1)) times.set(name, Math.min(times.get(name) ?? Infinity, us));
const ratios = [...best[0]].map(([name, us]) => { const ratio = us / best[1].get(name)!; process.stdout.write(`${name}: as compiled ${us} us, rewritten ${best[1].get(name)} us: ${ratio.toFixed(2)}\n`); return ratio; });
process.stdout.write(`geometric mean: ${Math.exp(ratios.reduce((sum, r) => sum + Math.log(r), 0) / ratios.length).toFixed(2)}\n`);
rmSync(dir, { recursive: true, force: true });
