// House rules that a reviewer should not have to check: layers, import cycles, file length.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const walk = (folder: string): string[] => readdirSync(folder).flatMap(name => {
  const path = join(folder, name);
  return name === 'node_modules' || name === 'dist' || name.startsWith('.') ? [] : statSync(path).isDirectory() ? walk(path) : path.endsWith('.ts') ? [path] : [];
});
const files = walk(root).map(p => relative(root, p));
interface Import { readonly from: string; readonly to: string; readonly typeOnly: boolean }
const imports: Import[] = files.flatMap(from => {
  const text = readFileSync(join(root, from), 'utf8');
  return [...text.matchAll(/^\s*(?:import|export)\s+(type\s)?[^;'"]*?from\s*'([^']+)'/gm)].map(m => ({
    from, typeOnly: m[1] !== undefined, to: m[2]!.startsWith('.') ? normalize(join(dirname(from), m[2]!)) : m[2]!,
  }));
});
const isTest = (f: string): boolean => f.endsWith('.test.ts') || f.startsWith('test/');
const inside = (f: string, folder: string): boolean => f.startsWith(`${folder}/`);

test('layers: nothing imports what stands above it', () => {
  const wrong = imports.filter(({ from, to }) => {
    if (isTest(from)) return false;
    const local = files.includes(to);
    if (inside(from, 'hypervisor/public')) return local ? !inside(to, 'hypervisor/public') && !inside(to, 'hypervisor/lib') : true;
    if (inside(from, 'hypervisor/lib')) return local && !inside(to, 'hypervisor/lib');
    if (inside(from, 'hypervisor/cpu')) return local ? !inside(to, 'hypervisor/cpu') && !inside(to, 'hypervisor/lib') : true;
    if (inside(from, 'hypervisor')) return local ? !inside(to, 'hypervisor') : to !== 'node:worker_threads' && !(to === 'node:v8' && inside(from, 'hypervisor/boot')) && from !== 'hypervisor/boot/thread-priority.ts';
    if (inside(from, 'net')) return !inside(to, 'net');
    if (inside(from, 'dom0')) return local && inside(to, 'hypervisor') && !inside(to, 'hypervisor/public') && !to.startsWith('hypervisor/boot/dom0');
    if (inside(from, 'domu-pv')) return local ? !inside(to, 'domu-pv') && !inside(to, 'net') && !inside(to, 'hypervisor/public') && !(from === 'domu-pv/index.ts' && to === 'hypervisor/boot/program-vcpu.ts') : true;
    if (inside(from, 'tools/xl')) return local && (inside(to, 'hypervisor') || inside(to, 'domu-pv'));
    return false;
  });
  expect(wrong).toEqual([]);
});

test('no import cycles between modules that run', () => {
  const graph = new Map<string, string[]>();
  for (const { from, to, typeOnly } of imports) if (!typeOnly && files.includes(to)) graph.set(from, [...graph.get(from) ?? [], to]);
  const done = new Set<string>(), cycles: string[] = [];
  const visit = (f: string, path: string[]): void => {
    if (path.includes(f)) { cycles.push([...path.slice(path.indexOf(f)), f].join(' -> ')); return; }
    if (done.has(f)) return;
    for (const next of graph.get(f) ?? []) visit(next, [...path, f]);
    done.add(f);
  };
  for (const f of graph.keys()) visit(f, []);
  expect(cycles).toEqual([]);
});

/** Files that may be longer than the rule, each with the reason that keeps it one noun. */
const LONG: Record<string, string> = {};
test('no file is longer than 600 lines without a named reason', () => {
  const long = files.filter(f => !f.endsWith('.gen.ts') && !(f in LONG) && readFileSync(join(root, f), 'utf8').split('\n').length > 600);
  expect(long).toEqual([]);
});
