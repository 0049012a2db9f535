// The differential tester as a process of its own, for tests: under vitest's loader it runs at half its speed.
import { spawn } from 'node:child_process';
import { join } from 'node:path';

/** What `differential.ts --json` prints. */
export interface Report {
  readonly cases: number; readonly differing: number;
  /** Differences, as text. */
  readonly samples: readonly string[];
  /** Outcomes on the host by trap number, counters of our processor, forms that no case was of. */
  readonly traps: Readonly<Record<string, number>>; readonly counters: Readonly<Record<string, number>>; readonly missing: readonly string[];
}

/** A string tells why this host cannot run cases. */
export function runTester(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Report | string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(import.meta.dirname, '../differential.ts'), '--json', ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
    let out = '', errors = '';
    child.stdout.on('data', (d: Buffer) => { out += d.toString(); });
    child.stderr.on('data', (d: Buffer) => { errors += d.toString(); });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 2) resolve(errors.trim());
      else if (code === 0 || code === 1) resolve(JSON.parse(out) as Report);
      else reject(new Error(`the differential tester ended: ${signal ?? `status ${code}`}\n${errors}`));
    });
  });
}
