import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseDomainConfig } from './config/domain-config.ts';
import { RECORDED_CASES } from './config/recorded-cases.ts';
import { fakeWorld } from './fakes.ts';
import { createImageLoader } from './image-loader.ts';
import { Toolstack } from './toolstack.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kernels-'));
  await writeFile(join(dir, 'text.bin'), 'this is no kernel\n'.repeat(100));
  await writeFile(join(dir, 'empty.bin'), '');
  const truncated = new Uint8Array(4096);
  truncated.set([0x55, 0xaa], 0x1fe); truncated.set(Buffer.from('HdrS'), 0x202); truncated.set([0x0f, 0x02], 0x206); truncated.set([4], 0x1f1);
  new DataView(truncated.buffer).setUint32(0x248, 0x100, true); new DataView(truncated.buffer).setUint32(0x24c, 0x700000, true);
  await writeFile(join(dir, 'trunc.bin'), truncated);
});
afterAll(() => rm(dir, { recursive: true }));

const cases = RECORDED_CASES.filter(c => /^kernel-(nonexist|text|trunc|empty|elf-notxen|pv32pae)$/.test(c.name));
test.each(cases.map(c => [c.name, c] as const))('%s', async (name, recorded) => {
  const world = fakeWorld(), toolstack = new Toolstack({ ...world.near, builder: createImageLoader(world.near.hypercalls) });
  // Any program of this machine is an ELF file without Xen notes.
  const text = recorded.text.replaceAll('/tmp/bad', dir).replace('/bin/busybox', process.execPath).replace('/bin/true', process.execPath);
  const { config } = parseDomainConfig(text, `${name}.cfg`, { pcpus: 2 });
  await expect(toolstack.perform({ action: 'create', config })).rejects.toThrow(recorded.stderr.replaceAll('/tmp/bad', dir));
  expect(world.hypervisor.domains.size).toBe(0);
});
test('a ramdisk that is not there', async () => {
  const recorded = RECORDED_CASES.find(c => c.name === 'ramdisk-nonexist')!;
  const world = fakeWorld(), toolstack = new Toolstack({ ...world.near, builder: createImageLoader(world.near.hypercalls) });
  const { config } = parseDomainConfig(recorded.text.replace('/boot/small-pv-kernel', process.execPath), 't', { pcpus: 2 });
  await expect(toolstack.perform({ action: 'create', config })).rejects.toThrow(recorded.stderr);
});
