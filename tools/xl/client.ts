// xl's side of the HTTP API: requests over the host's Unix socket.
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { CONSOLE_PROTOCOL } from '../../dom0/api/console-protocol.ts';
import type { GdbEvent } from '../../dom0/debug/gdb-server.ts';
import type { InstructionView } from '../../dom0/debug/instructions.ts';
import type { PerfReport } from '../../dom0/debug/perf.ts';
import type { StackView } from '../../dom0/debug/stack.ts';
import type { ActionName, DomainView, HostView } from '../../dom0/toolstack/action.ts';
import type { DomainConfig, VifConfig } from '../../dom0/toolstack/config/schema.ts';

/** An answer that is a problem+json document. */
export class ApiError extends Error {
  readonly code: string;
  readonly status: number;
  constructor(code: string, status: number, detail: string) { super(detail); this.name = 'ApiError'; this.code = code; this.status = status; }
}
/** Nothing listens on the socket. */
export class NoHostError extends Error {}

export type DomainEndView = { kind: 'shutdown'; reason: number } | { kind: 'destroyed' };

export class Client {
  readonly socketPath: string;
  constructor(socketPath: string) { this.socketPath = socketPath; }

  host(): Promise<HostView> { return this.#json('GET', '/v1/host'); }
  dmesg(clear: boolean): Promise<string> { return this.#text(clear ? 'DELETE' : 'GET', '/v1/host/dmesg'); }
  debugKeys(keys: string): Promise<void> { return this.#json('POST', '/v1/host/debug-keys', { keys }); }
  shutdownHost(now: boolean): Promise<void> { return this.#json('POST', '/v1/host/shutdown', { now }); }
  domains(): Promise<DomainView[]> { return this.#json('GET', '/v1/domains'); }
  domain(ref: string): Promise<DomainView> { return this.#json('GET', `/v1/domains/${encodeURIComponent(ref)}`); }
  config(ref: string): Promise<DomainConfig> { return this.#json('GET', `/v1/domains/${encodeURIComponent(ref)}/config`); }
  create(config: DomainConfig, paused: boolean): Promise<DomainView> { return this.#json('POST', '/v1/domains', { config, paused }); }
  destroy(ref: string): Promise<void> { return this.#json('DELETE', `/v1/domains/${encodeURIComponent(ref)}`); }
  act(ref: string, action: Exclude<ActionName, 'create' | 'destroy' | 'attach-vif' | 'detach-vif'>, fields: object = {}): Promise<DomainView> { return this.#json('POST', `/v1/domains/${encodeURIComponent(ref)}/actions`, { action, ...fields }); }
  attachVif(ref: string, vif: VifConfig): Promise<DomainView> { return this.#json('POST', `/v1/domains/${encodeURIComponent(ref)}/vifs`, vif); }
  setCarrier(ref: string, device: string, carrier: boolean): Promise<DomainView> { return this.#json('PATCH', `/v1/domains/${encodeURIComponent(ref)}/vifs/${encodeURIComponent(device)}`, { carrier }); }
  /** Its backend begins anew, unseen by the guest. */
  restartVif(ref: string, device: string): Promise<DomainView> { return this.#json('POST', `/v1/domains/${encodeURIComponent(ref)}/vifs/${encodeURIComponent(device)}/restart`, {}); }
  /** @param device devid or address */
  detachVif(ref: string, device: string): Promise<void> { return this.#json('DELETE', `/v1/domains/${encodeURIComponent(ref)}/vifs/${encodeURIComponent(device)}`); }
  waitEnd(ref: string): Promise<DomainEndView> { return this.#json('GET', `/v1/domains/${encodeURIComponent(ref)}/end`); }

  stacks(ref: string): Promise<StackView[]> { return this.#json('GET', `/v1/domains/${encodeURIComponent(ref)}/stacks`); }
  perf(ref: string, seconds: number, hertz: number): Promise<PerfReport> { return this.#json('GET', `/v1/domains/${encodeURIComponent(ref)}/perf?seconds=${seconds}&hertz=${hertz}`); }
  setTrace(ref: string, what: { instructions?: boolean | number; calls?: boolean }): Promise<void> { return this.#json('PUT', `/v1/domains/${encodeURIComponent(ref)}/trace`, what); }
  instructions(ref: string, last: number): Promise<InstructionView[]> { return this.#json('GET', `/v1/domains/${encodeURIComponent(ref)}/trace/instructions?last=${last}`); }
  calls(ref: string, kind: 'hypercalls' | 'events' | 'all', last: number): Promise<string[]> { return this.#json('GET', `/v1/domains/${encodeURIComponent(ref)}/trace/calls?kind=${kind}&last=${last}`); }
  /** Opens a place for gdb; it is closed when the signal aborts. Resolves when it has ended. */
  gdb(ref: string, listen: { port?: number; socket?: string }, onEvent: (event: GdbEvent) => void, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const payload = JSON.stringify(listen);
      const request = httpRequest({
        socketPath: this.socketPath, method: 'POST', path: `/v1/domains/${encodeURIComponent(ref)}/gdb`, agent: false,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }, ...(signal ? { signal } : {}),
      }, response => {
        if ((response.statusCode ?? 500) >= 400) { collect(response).then(text => reject(errorOf(response, text)), reject); return; }
        let rest = '';
        response.setEncoding('utf8');
        response.on('data', (text: string) => {
          const lines = (rest + text).split('\n');
          rest = lines.pop()!;
          for (const line of lines) onEvent(JSON.parse(line) as GdbEvent);
        });
        response.on('end', resolve);
        response.on('error', error => signal?.aborted ? resolve() : reject(error));
      });
      request.on('error', error => signal?.aborted ? resolve() : reject(connectionError(error, this.socketPath)));
      request.end(payload);
    });
  }

  /** A capture's bytes, until the signal aborts. @param path of the API */
  capture(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({ socketPath: this.socketPath, path, agent: false, signal }, response => {
        if ((response.statusCode ?? 500) < 400) { resolve(response); return; }
        collect(response).then(text => reject(errorOf(response, text)), reject);
      });
      request.on('error', error => reject(connectionError(error, this.socketPath)));
      request.end();
    });
  }

  /** The console as a two-way byte stream, scrollback first. */
  console(ref: string): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({ socketPath: this.socketPath, path: `/v1/domains/${encodeURIComponent(ref)}/console`, headers: { connection: 'Upgrade', upgrade: CONSOLE_PROTOCOL } });
      request.on('upgrade', (_response, socket, head) => { if (head.length > 0) socket.unshift(head); resolve(socket); });
      request.on('response', response => { collect(response).then(body => reject(errorOf(response, body)), reject); });
      request.on('error', error => reject(connectionError(error, this.socketPath)));
      request.end();
    });
  }

  async #json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const text = await this.#text(method, path, body);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  #text(method: string, path: string, body?: unknown): Promise<string> {
    return new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const headers = payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) };
      const request = httpRequest({ socketPath: this.socketPath, method, path, headers, agent: false }, response => {
        collect(response).then(text => (response.statusCode ?? 500) < 400 ? resolve(text) : reject(errorOf(response, text)), reject);
      });
      request.on('error', error => reject(connectionError(error, this.socketPath)));
      request.end(payload);
    });
  }
}

async function collect(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

function errorOf(response: IncomingMessage, body: string): Error {
  try {
    const problem = JSON.parse(body) as { code: string; detail: string };
    return new ApiError(problem.code, response.statusCode ?? 500, problem.detail);
  } catch { return new ApiError('internal', response.statusCode ?? 500, body || 'the host gave no answer'); }
}

function connectionError(error: NodeJS.ErrnoException, path: string): Error {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') return new NoHostError(`no host listens on ${path}`);
  if (error.code === 'EACCES') return new Error(`${path}: Permission denied: the host belongs to another user`);
  if (error.code === 'ECONNRESET') return new Error('the host ended the connection');
  return error;
}
