// For tests: the API on a Unix socket, over a hypervisor that only keeps records.
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Management, type ManagementOptions } from '../management/index.ts';
import { fakeWorld, type World } from '../toolstack/fakes.ts';
import { Toolstack } from '../toolstack/toolstack.ts';
import { Daemon } from '../xenstore/daemon.ts';
import { LocalClient } from '../xenstore/local-client.ts';
import { Access } from './access.ts';
import { problemOf } from './problem.ts';
import { createApi } from './server.ts';

export const CONFIG = {
  name: 'web', uuid: '5d72d3de-a654-4297-829e-9d59efb62889', type: 'pv', vcpus: 1, maxVcpus: 1, memoryKib: 65536, maxMemKib: 65536, kernel: '/k', cmdline: '', weight: 256, cap: 0,
  onPoweroff: 'destroy', onReboot: 'restart', onCrash: 'destroy', onWatchdog: 'destroy', onSoftReset: 'destroy', disks: [] as object[], vifs: [] as object[],
};
export const named = (name: string, n: number): typeof CONFIG => ({ ...CONFIG, name, uuid: CONFIG.uuid.replace(/.{4}$/, String(n).padStart(4, '0')) });
export const HOST_VIEW = {
  host: 'h', release: '6', version: '#1', machine: 'x86_64', cpus: 2, cpuMhz: 1000, totalMemKib: 4193280, freeMemKib: 2314240, hwCaps: '0', compiler: 'c', buildId: '1',
  xenMajor: 4, xenMinor: 17, xenExtra: '', scheduler: 'credit2', capabilities: '', commandLine: '', changeset: '', pid: 1, uptimeSec: 1,
};

export interface Answer { readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string; readonly json: any }
export interface ApiWorld {
  readonly dir: string; readonly socketPath: string; readonly world: World; readonly toolstack: Toolstack; readonly management: Management; readonly access: Access; readonly api: ReturnType<typeof createApi>;
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  close(): Promise<void>;
}

export async function apiWorld(options: Partial<ManagementOptions> = {}, world = fakeWorld(), acknowledgeMs = 40): Promise<ApiWorld> {
  const dir = mkdtempSync(join(tmpdir(), 'api-')), socketPath = join(dir, 's'), toolstack = new Toolstack({ ...world.near, acknowledgeMs });
  const management = new Management({ toolstack, log: world.near.log, nowMs: Date.now, problemOf, secondMs: 1, ...options }), access = new Access(management);
  const api = createApi({ toolstack, management, consoles: world.near.consoles, xenstore: new LocalClient(new Daemon()), host: { view: () => HOST_VIEW, dmesg: () => 'ring', debugKeys: () => {}, shutdown: () => true } }, access);
  await api.listen({ path: socketPath });
  return {
    dir, socketPath, world, toolstack, management, access, api, call: (method, path, body, headers) => send({ socketPath }, method, path, body, headers),
    close: async () => { await api.close(); rmSync(dir, { recursive: true }); },
  };
}

export function send(where: { readonly socketPath: string }, method: string, path: string, body?: unknown, headers: Record<string, string> = {}, request = httpRequest): Promise<Answer> {
  const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const sent = request({ ...where, method, path, agent: false, headers: { ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }), ...headers } }, response => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => { text += part; }).on('error', reject).on('end', () => {
        resolve({ status: response.statusCode!, headers: response.headers, text, get json() { return JSON.parse(text); } });
      });
    }).on('error', reject);
    sent.end(payload);
  });
}
