// xl's side of the HTTP API: requests over the host's Unix socket.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { z } from 'zod';
import { CONSOLE_PROTOCOL } from '../../dom0/api/console-protocol.ts';
import { CONTRACT } from '../../dom0/api/contract.ts';
import type { SchedulerView } from '../../dom0/api/devices-contract.ts';
import type { AnswerOf, BodyOf, ParamsOf, QueryOf, Route } from '../../dom0/api/route.ts';
import type { GdbEvent } from '../../dom0/debug/gdb-server.ts';
import type { InstructionView } from '../../dom0/debug/instructions.ts';
import type { PerfReport } from '../../dom0/debug/perf.ts';
import type { StackView } from '../../dom0/debug/stack.ts';
import type { AuditEntry } from '../../dom0/management/audit-entry.ts';
import type { Definition } from '../../dom0/management/definitions.ts';
import type { DefinitionStatus } from '../../dom0/management/managed-domains.ts';
import type { OperationView } from '../../dom0/management/operations.ts';
import type { TokenView } from '../../dom0/management/tokens.ts';
import type { DomainView, HostView } from '../../dom0/toolstack/action.ts';
import type { DiskConfig, DomainConfig, VifConfig } from '../../dom0/toolstack/config/schema.ts';
import type { Trigger } from '../../dom0/toolstack/tuning.ts';

/** Not imported: that would load all that the module offers, an HTTP client of another kind among it, a third of a command's start. */
const { request: httpRequest } = process.getBuiltinModule('node:http');

/** An answer that is a problem+json document. */
export class ApiError extends Error {
  readonly code: string;
  readonly status: number;
  constructor(code: string, status: number, detail: string) { super(detail); this.name = 'ApiError'; this.code = code; this.status = status; }
}
/** Nothing listens on the socket. */
export class NoHostError extends Error {}

export type DomainEndView = { kind: 'shutdown'; reason: number } | { kind: 'destroyed' };

/** What a call of the contract is given: the parts that its route has. */
type Input<R extends Route> = (keyof ParamsOf<R> extends never ? unknown : { readonly params: ParamsOf<R> })
  & (R extends { readonly query: z.ZodType } ? { readonly query?: Partial<QueryOf<R>> } : unknown)
  & (R extends { readonly body: z.ZodType } ? { readonly body: BodyOf<R> } : unknown);

type Act = BodyOf<typeof CONTRACT.act>;
/** Beside the name of the action: nothing, or one object. */
type FieldsOf<Name> = keyof Omit<Extract<Act, { action: Name }>, 'action'> extends never ? [] : [Omit<Extract<Act, { action: Name }>, 'action'>];

export class Client {
  readonly socketPath: string;
  constructor(socketPath: string) { this.socketPath = socketPath; }

  host(): Promise<HostView> { return this.#call(CONTRACT.host, {}); }
  dmesg(clear: boolean): Promise<string> { return this.#call(clear ? CONTRACT.clearDmesg : CONTRACT.dmesg, {}); }
  debugKeys(keys: string): Promise<void> { return this.#call(CONTRACT.debugKeys, { body: { keys } }); }
  /** @returns whether it ends: with `ifIdle`, only while there is no guest */
  async shutdownHost(now: boolean, ifIdle = false): Promise<boolean> { return (await this.#call(CONTRACT.shutdownHost, { body: { now, ifIdle } })).ending; }
  domains(): Promise<DomainView[]> { return this.#call(CONTRACT.domains, {}); }
  domain(domain: string): Promise<DomainView> { return this.#call(CONTRACT.domain, { params: { domain } }); }
  config(domain: string): Promise<DomainConfig> { return this.#call(CONTRACT.config, { params: { domain } }); }
  create(config: DomainConfig, paused: boolean): Promise<DomainView> { return this.#call(CONTRACT.createDomain, { body: { config, paused } }); }
  destroy(domain: string): Promise<void> { return this.#call(CONTRACT.destroy, { params: { domain } }); }
  act<Name extends Act['action']>(domain: string, action: Name, ...[fields]: FieldsOf<Name>): Promise<DomainView> { return this.#call(CONTRACT.act, { params: { domain }, body: { action, ...fields } as unknown as Act }); }
  attachVif(domain: string, vif: VifConfig): Promise<DomainView> { return this.#call(CONTRACT.attachVif, { params: { domain }, body: vif }); }
  attachDisk(domain: string, disk: DiskConfig): Promise<DomainView> { return this.#call(CONTRACT.attachDisk, { params: { domain }, body: disk }); }
  /** @param device vdev or devid */
  detachDisk(domain: string, device: string): Promise<void> { return this.#call(CONTRACT.detachDisk, { params: { domain, device } }); }
  setMemory(domain: string, targetKib: number): Promise<DomainView> { return this.#call(CONTRACT.setMemory, { params: { domain }, body: { targetKib } }); }
  trigger(domain: string, trigger: Trigger, vcpu: number): Promise<DomainView> { return this.#call(CONTRACT.trigger, { params: { domain }, body: { trigger, vcpu } }); }
  scheduler(): Promise<SchedulerView> { return this.#call(CONTRACT.scheduler, {}); }
  setScheduler(domain: string, change: BodyOf<typeof CONTRACT.setScheduler>): Promise<DomainView> { return this.#call(CONTRACT.setScheduler, { params: { domain }, body: change }); }
  setCarrier(domain: string, device: string, carrier: boolean): Promise<DomainView> { return this.#call(CONTRACT.setCarrier, { params: { domain, device }, body: { carrier } }); }
  /** Its backend begins anew, unseen by the guest. */
  restartVif(domain: string, device: string): Promise<DomainView> { return this.#call(CONTRACT.restartVif, { params: { domain, device } }); }
  /** @param device devid or address */
  detachVif(domain: string, device: string): Promise<void> { return this.#call(CONTRACT.detachVif, { params: { domain, device } }); }
  define(definition: BodyOf<typeof CONTRACT.define>): Promise<Definition> { return this.#call(CONTRACT.define, { body: definition }); }
  definitions(): Promise<Definition[]> { return this.#call(CONTRACT.definitions, { query: { limit: 1000 } }); }
  /** @param definition name or UUID */
  startDefinition(definition: string, paused: boolean): Promise<DomainView> { return this.#call(CONTRACT.startDefinition, { params: { definition }, body: { paused } }); }
  definition(definition: string): Promise<Definition> { return this.#call(CONTRACT.definition, { params: { definition } }); }
  definitionStatus(definition: string): Promise<DefinitionStatus> { return this.#call(CONTRACT.definitionStatus, { params: { definition } }); }
  changeDefinition(definition: string, change: BodyOf<typeof CONTRACT.changeDefinition>): Promise<Definition> { return this.#call(CONTRACT.changeDefinition, { params: { definition }, body: change }); }
  operations(query: Partial<QueryOf<typeof CONTRACT.operations>>): Promise<OperationView[]> { return this.#call(CONTRACT.operations, { query }); }
  /** @param wait seconds that it may take to end */
  operation(operation: string, wait = 0): Promise<OperationView> { return this.#call(CONTRACT.operation, { params: { operation }, query: { wait } }); }
  cancelOperation(operation: string): Promise<OperationView> { return this.#call(CONTRACT.cancelOperation, { params: { operation } }); }
  audit(after: number, limit: number): Promise<AuditEntry[]> { return this.#call(CONTRACT.audit, { query: { after, limit } }); }
  undefine(definition: string): Promise<void> { return this.#call(CONTRACT.undefine, { params: { definition } }); }
  tokens(): Promise<TokenView[]> { return this.#call(CONTRACT.tokens, {}); }
  createToken(token: BodyOf<typeof CONTRACT.createToken>): Promise<TokenView & { readonly token: string }> { return this.#call(CONTRACT.createToken, { body: token }); }
  revokeToken(token: string): Promise<void> { return this.#call(CONTRACT.revokeToken, { params: { token } }); }
  waitEnd(domain: string): Promise<DomainEndView> { return this.#call(CONTRACT.waitEnd, { params: { domain } }); }

  stacks(domain: string): Promise<StackView[]> { return this.#call(CONTRACT.stacks, { params: { domain } }); }
  perf(domain: string, seconds: number, hertz: number): Promise<PerfReport> { return this.#call(CONTRACT.perf, { params: { domain }, query: { seconds, hertz } }); }
  setTrace(domain: string, what: BodyOf<typeof CONTRACT.setTrace>): Promise<void> { return this.#call(CONTRACT.setTrace, { params: { domain }, body: what }); }
  instructions(domain: string, last: number): Promise<InstructionView[]> { return this.#call(CONTRACT.instructions, { params: { domain }, query: { last } }); }
  calls(domain: string, kind: QueryOf<typeof CONTRACT.calls>['kind'], last: number): Promise<string[]> { return this.#call(CONTRACT.calls, { params: { domain }, query: { kind, last } }); }
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

  /** @throws ApiError, NoHostError */
  async #call<R extends Route>(route: R, input: Input<R>): Promise<AnswerOf<R>> {
    const { params = {}, query = {}, body } = input as { params?: Record<string, string>; query?: Record<string, string>; body?: unknown };
    const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name]!)), search = new URLSearchParams(query).toString();
    const text = await this.#text(route.method, search ? `${path}?${search}` : path, body);
    return (!route.answer ? undefined : route.media === undefined ? JSON.parse(text) : text) as AnswerOf<R>;
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
