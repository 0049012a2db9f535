// Disks, memory targets, scheduling, triggers, xenstore and files, as a client of the API sees them.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { apiWorld, CONFIG, type ApiWorld } from './api-world.ts';

const DISK = { target: '/images/data.img', format: 'raw', vdev: 'xvdb', readOnly: false, cdrom: false, discard: false, trusted: true };
let at: ApiWorld;
beforeEach(async () => {
  at = await apiWorld();
  expect((await at.call('POST', '/v1/domains', { config: { ...CONFIG, maxMemKib: 131072 } })).status).toBe(201);
});
afterEach(() => at.close());

test('a disk is plugged in and out; nodes, lists and what a reboot makes again follow', async () => {
  const front = '/local/domain/1/device/vbd/51728', { store } = at.world;
  expect((await at.call('POST', '/v1/domains/web/disks', DISK)).status).toBe(201);
  expect(store.read(`${front}/state`)).toBe('1');
  expect([...store.nodes.keys()].filter(k => k.startsWith(`${front}/`)).at(-1)).toBe(`${front}/state`);
  expect((await at.call('GET', '/v1/domains/web/disks')).json).toMatchObject([{ vdev: 'xvdb', devid: 51728, target: DISK.target }]);
  expect(at.toolstack.config('web').disks).toEqual([DISK]);
  expect((await at.call('GET', '/metrics')).text).toContain('xenolith_disk_bytes_total{domid="1",name="web",vdev="xvdb",operation="write"} 8192');
  expect((await at.call('DELETE', '/v1/domains/web/disks/xvdb')).status).toBe(204);
  expect(at.world.openDisks.size).toBe(0);
  expect([...store.nodes.keys()].filter(k => k.includes('51728'))).toEqual([]);
  expect(at.toolstack.config('web').disks).toEqual([]);
});

test('a disk that cannot be had leaves nothing behind', async () => {
  const attach = async (disk: object): Promise<unknown> => { const { status, json } = await at.call('POST', '/v1/domains/web/disks', { ...DISK, ...disk }); return [status, json.code]; };
  expect(await attach({ target: '/nonexist' })).toEqual([422, 'bad-disk']);
  expect(await attach({ target: 'relative.img' })).toEqual([400, 'invalid-body']);
  expect(await attach({ format: 'qcow2' })).toEqual([422, 'bad-disk']);
  expect(await attach({ vdev: 'nonsense' })).toEqual([422, 'bad-disk']);
  expect(await attach({ colour: 'red' })).toEqual([400, 'invalid-body']);
  const both = await Promise.all([attach({}), attach({})]);
  expect(both.map(a => (a as unknown[])[0]).sort()).toEqual([201, 422]);
  expect(at.toolstack.config('web').disks).toEqual([DISK]);
  expect((await at.call('DELETE', '/v1/domains/web/disks/xvdq')).json.code).toBe('device-not-found');
  expect((await at.call('POST', '/v1/domains/none/disks', DISK)).json.code).toBe('domain-not-found');
});

test('memory target, scheduler parameters and triggers are checked and handed on', async () => {
  expect((await at.call('PUT', '/v1/domains/web/memory', { targetKib: 98304 })).status).toBe(200);
  expect(at.world.store.read('/local/domain/1/memory/target')).toBe('98304');
  expect(at.world.hypervisor.limits.get(1)).toBe(98304 + 1024);
  expect((await at.call('PUT', '/v1/domains/web/memory', { targetKib: 262144 })).json.code).toBe('bad-memory');
  expect((await at.call('PUT', '/v1/domains/web/memory', { targetKib: 4 })).json.code).toBe('bad-memory');
  expect((await at.call('PATCH', '/v1/domains/web/scheduler', { weight: 512, cap: 50 })).json).toMatchObject({ weight: 512, cap: 50 });
  expect((await at.call('PATCH', '/v1/domains/web/scheduler', { cap: 101 })).json.code).toBe('bad-scheduling');
  expect((await at.call('PATCH', '/v1/domains/web/scheduler', { weight: 0 })).json.code).toBe('bad-scheduling');
  expect((await at.call('GET', '/v1/host/scheduler')).json.domains).toContainEqual({ domid: 1, name: 'web', weight: 512, cap: 50 });
  expect((await at.call('POST', '/v1/domains/web/trigger', { trigger: 'nmi' })).status).toBe(200);
  expect((await at.call('POST', '/v1/domains/web/trigger', { trigger: 'nmi', vcpu: 7 })).json.code).toBe('device-not-found');
  expect((await at.call('POST', '/v1/domains/web/trigger', { trigger: 'power' })).json.code).toBe('not-supported');
});

test('xenstore is read, written, watched', async () => {
  const node = '/v1/xenstore?path=/tool/x';
  expect((await at.call('GET', node)).json.code).toBe('no-such-node');
  expect((await at.call('PUT', node, { value: 'one', permissions: ['n0', 'r5'] })).json).toEqual({ path: '/tool/x', value: 'one', permissions: ['n0', 'r5'], children: [] });
  expect((await at.call('GET', '/v1/xenstore?path=/tool')).json.children).toContain('x');
  const seen = new Promise<string>((resolve, reject) => {
    get({ socketPath: at.socketPath, path: '/v1/xenstore/watch?path=/tool', agent: false }, response => {
      let text = '';
      response.setEncoding('utf8').on('error', reject).on('data', (part: string) => {
        text += part;
        if (text.includes('"path":"/tool"') && !text.includes('two')) void at.call('PUT', node, { value: 'two' });
        if (text.includes('{"path":"/tool/x","value":"two"}')) { response.destroy(); resolve(text); }
      });
    }).on('error', reject);
  });
  expect(await seen).toContain('event: changed');
  expect((await at.call('DELETE', node)).status).toBe(204);
  expect((await at.call('DELETE', node)).status).toBe(404);
  expect((await at.call('GET', '/v1/xenstore?path=relative')).status).toBe(400);
  expect((await at.call('PUT', '/v1/xenstore?path=//', { value: '' })).json.code).toBe('bad-path');
  expect((await at.call('PUT', node, { value: '\u{1f600}' })).status).toBe(400);
});

test('files that domains use are listed', async () => {
  const path = join(at.dir, 'vmlinux'), fifo = join(at.dir, 'fifo');
  writeFileSync(path, '\x7fELF');
  // Nobody writes into it: its first bytes are not to be waited for.
  execFileSync('mkfifo', [fifo]);
  await at.call('POST', '/v1/definitions', { config: { ...CONFIG, kernel: fifo } });
  await at.call('POST', '/v1/domains', { config: { ...CONFIG, name: 'second', uuid: CONFIG.uuid.replace(/9$/, '3'), kernel: path } });
  expect((await at.call('GET', '/v1/files?kind=kernel')).json).toEqual([{ path, kind: 'kernel', sizeBytes: 4, usedBy: ['second'] }]);
  expect((await at.call('GET', '/v1/files?kind=disk')).json).toEqual([]);
});
