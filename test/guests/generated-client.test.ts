// The API as somebody meets it who has the document alone: a client that a public generator makes of it creates a Debian
// kernel's domain, starts it, watches it boot and end, and destroys it.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareDemo, type Demo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { GuestShell, TestHost } from './guest-shell.ts';

const LIMIT_MS = 240_000, MIB_KIB = 1024;
type Call = (parameters?: object | null, body?: object, config?: object) => Promise<{ readonly status: number; readonly data: unknown }>;
interface Generator { new (options: object): { init(): Promise<Readonly<Record<string, Call>>> } }

let dir = '', host: TestHost | undefined, demo: Demo;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-generated-'));
  try {
    demo = await prepareDemo({ cacheDir: defaultCacheDir() });
    host = await TestHost.start(join(dir, 'run'));
  } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    process.stderr.write(`\n*** SKIPPED: a generated client: ${(error as Error).message}\n`);
  }
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

test('a generated client creates, starts, watches and destroys a Debian guest', async ctx => {
  if (!host) { ctx.skip(); return; }
  const { socketPath } = host.client, name = 'generated';
  const { OpenAPIClientAxios } = await import(String('openapi-client-axios')) as { OpenAPIClientAxios: Generator };
  const definition = await json(await new Promise<IncomingMessage>((resolve, reject) => { get({ socketPath, path: '/v1/openapi.json' }, resolve).on('error', reject); }));
  const client = await new OpenAPIClientAxios({ definition, axiosConfigDefaults: { socketPath } }).init();

  const stream = (await client['events']!(null, undefined, { responseType: 'stream' })).data as Readable;
  let told = '';
  stream.setEncoding('utf8').on('data', (text: string) => { told += text; }).on('error', () => {});
  const happened = (type: string): boolean => told.split('\n\n').some(event => event.includes(`event: ${type}\n`) && event.includes(`"name":"${name}"`));

  const config = {
    name, uuid: randomUUID(), type: 'pv', vcpus: 1, maxVcpus: 1, memoryKib: 192 * MIB_KIB, maxMemKib: 192 * MIB_KIB, kernel: demo.kernelPath, ramdisk: demo.ramdiskPath, cmdline: 'console=hvc0 quiet ip=off',
    weight: 256, cap: 0, onPoweroff: 'destroy', onReboot: 'destroy', onCrash: 'destroy', onWatchdog: 'destroy', onSoftReset: 'destroy', disks: [], vifs: [],
  };
  const created = await client['createDomain']!(null, { config, paused: true });
  expect(created.status).toBe(201);
  expect(created.data).toMatchObject({ name, paused: true });
  await expect.poll(() => happened('domain-created')).toBe(true);

  const ended = client['waitEnd']!({ domain: name }), console = await host.client.console(name);
  expect((await client['act']!({ domain: name }, { action: 'unpause' })).data).toMatchObject({ name, paused: false });
  await expect.poll(() => happened('domain-changed')).toBe(true);
  const guest = await GuestShell.over(name, console);
  expect(await guest.run('cat /sys/hypervisor/type; uname -s')).toBe('xen\nLinux\n');

  expect((await client['destroy']!({ domain: name })).status).toBe(204);
  expect((await ended).data).toEqual({ kind: 'destroyed' });
  await expect.poll(() => happened('domain-destroyed')).toBe(true);
  await expect(client['domain']!({ domain: name })).rejects.toMatchObject({ response: { status: 404, data: { code: 'domain-not-found' } } });
  stream.destroy();
}, LIMIT_MS);
