// C programs that run bytes of x86-64 on the host's own processor, for benchmarks to compare with.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a program prints, in words; undefined, with a word why, where it cannot run. @param code goes into a file whose path is its argument */
export function nativeOutput(source: string, code: Uint8Array): string[] | undefined {
  if (process.arch !== 'x64') return undefined;
  const dir = mkdtempSync(join(tmpdir(), 'xenolith-native-')), program = join(dir, 'program');
  try {
    writeFileSync(join(dir, 'code'), code);
    writeFileSync(`${program}.c`, source);
    const made = spawnSync('cc', ['-O1', '-o', program, `${program}.c`], { encoding: 'utf8' });
    if (made.error) { console.error('no C compiler (cc) is installed: nothing native to compare with'); return undefined; }
    if (made.status !== 0) throw new Error(made.stderr);
    return spawnSync(program, [join(dir, 'code')], { encoding: 'utf8' }).stdout.trim().split(' ');
  } finally { rmSync(dir, { recursive: true, force: true }); }
}
