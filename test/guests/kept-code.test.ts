// What a guest leaves of its code: the next guest with the same kernel takes most of it over, and nothing that is not its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { guestWithMkfs } from './filesystem-tools.ts';
import { type GuestFiles, GuestShell, TestHost } from './guest-shell.ts';

const LIMIT_MS = 300_000;
let dir = '', files: GuestFiles | undefined, host: TestHost;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-kept-code-'));
  try { files = await guestWithMkfs(join(dir, 'initrd.img')); } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    process.stderr.write(`\n*** SKIPPED: code that is kept: ${(error as Error).message}\n`);
    return;
  }
  // Where nothing is translated nothing is kept.
  host = await TestHost.start(join(dir, 'run'), '--jit=on');
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

const sleep = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms); });
async function until<T>(what: () => Promise<T | undefined>): Promise<T> {
  for (const end = Date.now() + 60_000; ; await sleep(50)) {
    const found = await what();
    if (found !== undefined) return found;
    expect(Date.now()).toBeLessThan(end);
  }
}
/** A guest's processor counters, by debug key. */
async function counters(guest: GuestShell): Promise<Record<string, number>> {
  await host.client.dmesg(true);
  await host.client.debugKeys('c');
  const line = await until(async () => (await host.client.dmesg(false)).split('\n').find(l => l.includes(`d${guest.domid}v0 processor: `)));
  return Object.fromEntries([...line.matchAll(/(\w+)=(\d+)/g)].map(m => [m[1]!, Number(m[2])]));
}
/** Ends it from within, and waits until it has gone. */
async function powerOff(guest: GuestShell): Promise<void> {
  await host.client.act(String(guest.domid), 'shutdown');
  await until(async () => (await host.client.domains()).some(d => d.domid === guest.domid) ? undefined : true);
}
const WORK = 'dmesg | grep -cE "Oops|BUG:|Call Trace|WARNING"; i=0; s=0; while [ $i -lt 20000 ]; do i=$((i+1)); s=$((s+i)); done; echo $s; seq 3000 | sort -r | md5sum; gzip -c /bin/busybox | gunzip | cmp - /bin/busybox && echo same';

test('the second guest of a kernel decodes and translates a part of it, others at once with it too, one with other memory nothing less', async () => {
  if (!files) return;
  const begun = async (name: string, memoryKib = 192 * 1024): Promise<{ guest: GuestShell; outcome: string; c: Record<string, number> }> => {
    const guest = await GuestShell.boot(host.client, name, files!, [], { memoryKib, maxMemKib: memoryKib }), outcome = await guest.run(WORK, undefined);
    return { guest, outcome, c: await counters(guest) };
  };
  const first = await begun('first');
  expect(first.outcome).toMatch(/^0\n200010000\n[0-9a-f]{32} {2}-\nsame\n$/);
  expect(first.c['blocks_decoded']).toBeGreaterThan(20_000);
  await powerOff(first.guest);
  const second = await begun('second'), third = await begun('third');
  for (const { c, outcome } of [second, third]) {
    expect(outcome).toBe(first.outcome);
    expect(c['blocks_decoded']!).toBeLessThan(first.c['blocks_decoded']! / 2);
    expect(c['blocks_revived']!).toBeGreaterThan(first.c['blocks_decoded']! / 2);
    expect(c['jit_adopted']!).toBeGreaterThan(1000);
    expect(c['jit_modules']!).toBeLessThan(first.c['jit_modules']! / 2);
  }
  const other = await begun('other', 160 * 1024);
  expect(other.outcome).toBe(first.outcome);
  expect(other.c['blocks_decoded']!).toBeGreaterThan(20_000);
  for (const { guest } of [second, third, other]) await powerOff(guest);
}, LIMIT_MS);
