// Builds dist/: JavaScript for the npm package, since Node strips no types under node_modules.
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from './node26.mjs';

const FOLDERS = ['hypervisor', 'net', 'dom0', 'domu-pv', 'tools'];
const dist = join(root, 'dist');

rmSync(dist, { recursive: true, force: true });
const tsc = spawnSync(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', join(root, 'tsconfig.build.json')], { cwd: root, stdio: ['ignore', 2, 2] });
if (tsc.status !== 0) {
  process.stderr.write('build: the sources do not type-check: nothing was built\n');
  rmSync(dist, { recursive: true, force: true });
  process.exit(1);
}

/** Files that are not modules but are read at run time. */
for (const folder of FOLDERS) for (const path of filesUnder(join(root, folder))) {
  if (/\.(ts|md|map)$/.test(path)) continue;
  cpSync(path, join(dist, relative(root, path)), { recursive: true });
}
/** tsc rewrites imports; thread entry points are named in URLs. */
for (const path of filesUnder(dist)) {
  if (!path.endsWith('.js')) continue;
  const text = readFileSync(path, 'utf8');
  const built = text.replace(/(new URL\(\s*(['"`]))([^'"`]+)\.ts\2/g, '$1$3.js$2');
  if (built !== text) writeFileSync(path, built);
}

function* filesUnder(folder) {
  let entries;
  try { entries = readdirSync(folder, { withFileTypes: true }); } catch (error) { if (error.code === 'ENOENT') return; throw error; }
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesUnder(path); else yield path;
  }
}
