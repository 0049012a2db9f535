// Constants and layouts in hypervisor/public against a C compiler's view of Xen's own headers (package libxen-dev).
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LAYOUTS } from '../../hypervisor/public/layouts.ts';

const folder = join(import.meta.dirname, '../../hypervisor/public');
const HEADERS = ['xen.h', 'errno.h', 'callback.h', 'memory.h', 'event_channel.h', 'grant_table.h', 'sched.h', 'vcpu.h', 'version.h', 'features.h', 'physdev.h', 'io/ring.h', 'io/blkif.h', 'io/netif.h', 'io/console.h', 'io/xs_wire.h', 'io/xenbus.h'];
const possible = existsSync('/usr/include/xen/xen.h') && spawnSync('gcc', ['--version']).status === 0 && process.arch === 'x64';
if (!possible) process.stderr.write('SKIPPED: the ABI test needs gcc, libxen-dev and an x86-64 host\n');

function compileAndRun(body: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'xenolith-abi-'));
  try {
    const includes = HEADERS.map(h => `#include <xen/${h}>`).join('\n');
    writeFileSync(join(dir, 'a.c'), `#include <stdint.h>\n#include <stdio.h>\n#include <stddef.h>\n#include <string.h>\n#define __XEN_TOOLS__ 1\n${includes}\nint main(void) {\n${body}\nreturn 0; }\n`);
    execFileSync('gcc', ['-w', '-o', join(dir, 'a'), join(dir, 'a.c')], { stdio: ['ignore', 'ignore', 'pipe'] });
    return execFileSync(join(dir, 'a'), { encoding: 'utf8' });
  } finally { rmSync(dir, { recursive: true, force: true }); }
}

test.skipIf(!possible)('every constant has the value of its header', async () => {
  const mine = new Map<string, bigint>();
  const headers = HEADERS.map(h => readFileSync(`/usr/include/xen/${h}`, 'utf8')).join('\n') + readFileSync('/usr/include/xen/arch-x86/xen.h', 'utf8') + readFileSync('/usr/include/xen/arch-x86/xen-x86_64.h', 'utf8');
  for (const file of readdirSync(folder, { recursive: true }) as string[]) {
    if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue;
    for (const [name, value] of Object.entries(await import(join(folder, file)) as Record<string, unknown>)) {
      if ((typeof value === 'number' || typeof value === 'bigint') && new RegExp(`#\\s*define\\s+${name}\\s+\\S`).test(headers)) mine.set(name, BigInt(value));
    }
  }
  const out = compileAndRun([...mine.keys()].map(n => `#ifdef ${n}\nprintf("${n} %lld\\n", (long long)(${n}));\n#endif`).join('\n'));
  const theirs = new Map(out.trim().split('\n').map(l => { const [n, v] = l.split(' '); return [n!, BigInt(v!)]; }));
  expect(theirs.size).toBeGreaterThan(250);
  // Names that only older interfaces define are left out by the headers themselves.
  const wrong = [...mine].filter(([n, v]) => theirs.has(n) && BigInt.asUintN(32, theirs.get(n)!) !== BigInt.asUintN(32, v));
  expect(wrong).toEqual([]);
});

test.skipIf(!possible)('errno names have Xen\'s values', async () => {
  // EINTR and ERESTART are for Xen's inside only.
  const { EINTR: _1, ERESTART: _2, ...mine } = await import(join(folder, 'errno.ts')) as Record<string, number>;
  const out = compileAndRun(Object.keys(mine).map(n => `printf("${n} %d\\n", XEN_${n});`).join('\n'));
  expect(Object.fromEntries(out.trim().split('\n').map(l => { const [n, v] = l.split(' '); return [n!, Number(v)]; }))).toEqual({ ...mine });
});

test.skipIf(!possible)('every structure has its size and offsets', () => {
  const body = LAYOUTS.flatMap(l => [`printf("${l.struct} %zu\\n", sizeof(${l.struct}));`, ...Object.keys(l.fields).map(f => `printf("${l.struct}.${f} %zu\\n", offsetof(${l.struct}, ${f}));`)]);
  const theirs = compileAndRun(body.join('\n')).trim().split('\n');
  const mine = LAYOUTS.flatMap(l => [`${l.struct} ${l.size}`, ...Object.entries(l.fields).map(([f, at]) => `${l.struct}.${f} ${at}`)]);
  expect(mine).toEqual(theirs);
});
