// Calls of the API made from its routes' schemas: values of the right form, and the same with one thing wrong. Whatever comes,
// the answer comes soon, is a success or a problem with a code, and never the host's fault. FUZZ_SEED repeats a run.
import { request as httpRequest } from 'node:http';
import { z } from 'zod';
import { FUZZ_SEED, Random } from './random.ts';
import { CONFIG } from '../../dom0/api/api-world.ts';
import { CONTRACT } from '../../dom0/api/contract.ts';
import { openApi } from '../../dom0/api/openapi.ts';
import { problemSchema } from '../../dom0/api/problem.ts';
import type { Route } from '../../dom0/api/route.ts';

/** As z.toJSONSchema gives it. */
interface Schema {
  readonly type?: string | readonly string[]; readonly const?: unknown; readonly enum?: readonly unknown[]; readonly anyOf?: readonly Schema[]; readonly oneOf?: readonly Schema[]; readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>; readonly required?: readonly string[]; readonly items?: Schema; readonly minimum?: number; readonly maximum?: number; readonly minLength?: number; readonly pattern?: string;
}
/** A call that is not answered in this time hangs; those that may wait are given up. */
const ANSWER_MS = 10_000, WAITS: readonly string[] = ['waitEnd', 'events', 'gdb', 'perf', 'captureVif', 'captureBridge', 'operation'], WAIT_MS = 100;
const PATHS = ['../../etc/passwd', '/k', '/proc/self/mem', '/dev/zero', `/${'a/'.repeat(2000)}`, '/k\0', '//k/../..', '', '.', '/nonexist', '\ud800'];
const NAMES = ['web', 'xenbr0', 'Domain-0', '0', '1', '-1', '99999999999', 'nobody', '%00', '..', '..%2f..%2fetc', '%ff', 'a'.repeat(300), CONFIG.uuid, '%F0%9F%92%A9', '%0d%0aX:1'];
/** What is there, or was. */
const RIGHT: Readonly<Record<string, string>> = { bridge: 'xenbr0', device: '0' };
const WRONG: readonly unknown[] = [null, true, -1, 0.5, 1e308, 2 ** 53, '', 'x', '\0', 'a'.repeat(70_000), [], {}, [[[]]], { __proto__: null, toString: 1 }, '\ud83d', '-0', '0x10', '1e3'];

function value(schema: Schema, random: Random, paths: readonly string[], depth = 0): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return random.pick(schema.enum);
  const choices = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (choices) return value(random.pick(choices), random, paths, depth + 1);
  switch (Array.isArray(schema.type) ? random.pick(schema.type as readonly string[]) : schema.type) {
    case 'object': return Object.fromEntries(Object.entries(schema.properties ?? {}).filter(([name]) => schema.required?.includes(name) || random.chance(2)).map(([name, s]) => [name, value(s, random, paths, depth + 1)]));
    case 'array': return Array.from({ length: depth > 4 ? 0 : random.below(3) }, () => value(schema.items ?? {}, random, paths, depth + 1));
    case 'integer': return random.chance(3) ? schema.minimum ?? 0 : random.chance(3) ? Math.min(schema.maximum ?? 1, 2 ** 40) : (schema.minimum ?? 0) + random.below(5);
    case 'number': return (schema.minimum ?? 0) + random.below(5);
    case 'boolean': return random.chance(2);
    case 'string': return schema.pattern?.includes('[0-9a-f]{8}') ? CONFIG.uuid.replace(/.$/, String(random.below(8))) : random.chance(3) ? random.pick(paths) : random.pick(['web', 'xvda', '/k', 'raw', 'h', '10:00', 'a'.repeat(schema.minLength ?? 1)]);
    default: return random.pick(WRONG);
  }
}

/** One place of it is wrong: another type, a missing or an unknown field, an edge. */
function broken(of: unknown, random: Random): unknown {
  if (typeof of === 'object' && of !== null && Object.keys(of).length > 0 && !random.chance(4)) {
    const copy = structuredClone(of) as Record<string, unknown>, key = random.pick(Object.keys(copy));
    if (random.chance(4)) { if (Array.isArray(copy)) copy.push(random.pick(WRONG)); else copy[random.pick(['unknown', '__proto__', 'constructor', ''])] = random.pick(WRONG); return copy; }
    if (random.chance(4) && !Array.isArray(copy)) { delete copy[key]; return copy; }
    copy[key] = broken(copy[key], random);
    return copy;
  }
  return typeof of === 'number' && random.chance(2) ? random.edge() : random.pick(WRONG);
}

interface Reply { readonly status: number; readonly type: string; readonly text: string }
function ask(socketPath: string, method: string, path: string, body: string | undefined, headers: Record<string, string>, waitMs?: number): Promise<Reply | undefined> {
  return new Promise((resolve, reject) => {
    const started = httpRequest({ socketPath, method, path, agent: false, headers: { ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }), ...headers } }, response => {
      let text = '';
      response.setEncoding('utf8').on('data', part => { text += part; }).on('error', () => resolve(undefined)).on('end', () => { clearTimeout(timer); resolve({ status: response.statusCode!, type: response.headers['content-type'] ?? '', text }); });
    }).on('error', error => { clearTimeout(timer); if (waitMs === undefined) reject(error); else resolve(undefined); });
    const timer = setTimeout(() => { if (waitMs === undefined) reject(new Error(`no answer in ${ANSWER_MS} ms`)); started.destroy(); resolve(undefined); }, waitMs ?? ANSWER_MS);
    started.end(body);
  });
}

export interface Fuzzed { readonly routes: number; readonly statuses: ReadonlyMap<number, number>; /** Calls of each route that were answered with success, or went on. */ readonly successes: ReadonlyMap<string, number> }

/** @param file one that exists, which calls may name @throws Error with the seed and the call that was answered wrongly */
export async function fuzzRoutes(socketPath: string, runs: number, file: string, left: readonly string[] = []): Promise<Fuzzed> {
  const routes = (Object.entries(CONTRACT) as [string, Route][]).filter(([id]) => !left.includes(id)), statuses = new Map<number, number>(), successes = new Map<string, number>(), paths = [file, ...PATHS];
  const schemas = new Map(routes.map(([id, { body, query }]) => [id, [body, query].map(s => s && z.toJSONSchema(s, { io: 'input' }) as Schema)]));
  const count = <K>(map: Map<K, number>, key: K): void => { map.set(key, (map.get(key) ?? 0) + 1); };
  for (let run = 0; run < runs; run++) for (const [i, [id, route]] of routes.entries()) {
    const seed = FUZZ_SEED * 1_000_000 + run * routes.length + i, random = new Random(seed), [body, query] = schemas.get(id)!;
    const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => random.chance(2) ? RIGHT[name] ?? 'web' : random.pick(NAMES)), given = query ? value(query, random, paths) as Record<string, unknown> : {};
    if (random.chance(query ? 3 : 6)) given[random.pick(['unknown', ...Object.keys(query?.properties ?? {})])] = random.pick(WRONG.filter(w => String(JSON.stringify(w)).length < 100));
    const search = new URLSearchParams(Object.entries(given).map(([name, v]) => [name, typeof v === 'object' ? JSON.stringify(v) : String(v)])).toString();
    const right = body === undefined ? undefined : value(body, random, paths), sent = random.chance(3) ? right : broken(right ?? {}, random);
    const text = route.method === 'GET' ? undefined : random.chance(20) ? random.pick(['{', '', '[', '"\\ud800"', '{"__proto__":1}', `${'['.repeat(20_000)}`, `"${'x'.repeat(1_100_000)}"`]) : JSON.stringify(sent);
    const headers: Record<string, string> = random.chance(4) ? { [random.pick(['idempotency-key', 'if-match', 'if-none-match', 'prefer', 'last-event-id'])]: random.pick(['x', '*', '"a"', 'respond-async', 'a'.repeat(400), '0-0']) } : {};
    const say = `seed ${seed}: ${route.method} ${path.slice(0, 100)}?${search.slice(0, 100)} ${text?.slice(0, 300)}`;
    const waits = WAITS.includes(id) || route.media === 'text/event-stream' || given['until'] === 'ended';
    const reply = await ask(socketPath, route.method, search ? `${path}?${search}` : path, text, headers, waits ? WAIT_MS : undefined).catch((error: unknown) => { throw new Error(say, { cause: error }); });
    if (!reply) { count(successes, id); continue; }
    count(statuses, reply.status);
    const wrong = wrongIn(route, reply);
    if (wrong !== undefined) throw new Error(`${wrong}: ${say}: ${reply.status} ${reply.text.slice(0, 500)}`);
    if (reply.status < 400) count(successes, id);
  }
  return { routes: routes.length, statuses, successes };
}

const document = openApi('0');

function wrongIn(route: Route, { status, type, text }: Reply): string | undefined {
  if (!Object.hasOwn(document.paths[route.path]![route.method.toLowerCase()]!.responses, status)) return 'not a status that the document has';
  if (status < 400) return undefined;
  if (!type.includes('application/problem+json')) return 'no problem document';
  const problem = problemSchema.safeParse(JSON.parse(text));
  if (problem.data?.status !== status) return 'no problem document';
  // A guest that does not answer, what cannot be done at all, and too many readers are no faults of the host's.
  return status >= 500 && !['no-answer', 'not-supported', 'too-many-readers'].includes(problem.data.code) ? 'a fault of the host' : undefined;
}

export const fuzzedText = ({ routes, statuses }: Fuzzed): string => `${routes} routes: ${[...statuses].sort(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`).join(', ')}`;
