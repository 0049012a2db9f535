// The contract as an OpenAPI 3.1 document.
import { z } from 'zod';
import { CONTRACT } from './contract.ts';
import { PROBLEMS, problemSchema, type ProblemCode } from './problem.ts';
import { operationView } from '../management/operations.ts';
import { PARAM, paramNames, scopeOf, statusOf, type Route } from './route.ts';

export interface OpenApi { readonly [key: string]: unknown; readonly openapi: '3.1.0'; readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>> }
export interface Operation {
  readonly operationId: string; readonly tags: readonly string[]; readonly summary: string;
  readonly parameters: readonly { readonly name: string; readonly in: 'path' | 'query' | 'header'; readonly required: boolean; readonly description?: string; readonly schema: object }[];
  readonly security?: readonly object[]; readonly requestBody?: object; readonly responses: Readonly<Record<string, object>>;
}
/** Every route may be refused so. */
const COMMON: readonly ProblemCode[] = ['bad-request', 'invalid-body', 'internal'];
const WITH_TOKEN: readonly ProblemCode[] = ['unauthorized', 'forbidden', 'too-many-requests'];
/** A body may come with each that changes something, and each of them is in the audit log before it is made. */
const CHANGING: readonly ProblemCode[] = ['body-too-large', 'unsupported-media-type', 'too-slow', 'storage'];

const refusalsOf = (route: Route): ProblemCode[] => [...COMMON, ...(scopeOf(route) === 'none' ? [] : WITH_TOKEN), ...(route.method === 'GET' ? [] : CHANGING), ...(route.problems ?? [])];

export function openApi(version: string): OpenApi {
  const paths: Record<string, Record<string, Operation>> = {};
  for (const [id, route] of Object.entries(CONTRACT) as [string, Route][]) (paths[route.path] ??= {})[route.method.toLowerCase()] = operation(id, route);
  return {
    openapi: '3.1.0', info: { title: 'Xenolith', version, description: 'Management of one host. Errors are application/problem+json; `code` is stable.' },
    servers: [{ url: 'http://localhost' }], tags: [...new Set(Object.values(CONTRACT).map(route => route.tag))].map(name => ({ name })),
    paths, components: {
      schemas: { Problem: schemaOf(problemSchema, 'output'), Operation: schemaOf(operationView, 'output') },
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'Over TCP; the Unix socket asks for none' } },
    },
  };
}

function operation(id: string, route: Route): Operation {
  const query = route.query ? schemaOf(route.query, 'input') as { properties?: Record<string, { description?: string }>; required?: string[] } : {};
  return {
    operationId: id, tags: [route.tag], summary: route.summary, ...(scopeOf(route) === 'none' ? {} : { security: [{}, { token: [scopeOf(route)] }] }),
    parameters: [
      ...paramNames(route.path).map(name => ({ name, in: 'path' as const, required: true, schema: schemaOf(PARAM, 'input') })),
      ...Object.entries(query.properties ?? {}).map(([name, { description, ...schema }]) => ({ name, in: 'query' as const, required: query.required?.includes(name) ?? false, ...(description ? { description } : {}), schema })),
      ...[...route.headers ?? [], ...(route.async ? ['Prefer'] : [])].map(name => ({ name, in: 'header' as const, required: false, schema: { type: 'string' } })),
    ],
    ...(route.body ? { requestBody: { required: !route.body.safeParse({}).success, content: { 'application/json': { schema: schemaOf(route.body, 'input') } } } } : {}),
    responses: { [statusOf(route)]: success(route), ...(route.async ? { 202: ACCEPTED } : {}), ...others(route), ...refusals(refusalsOf(route)) },
  };
}

/** Of a call that prefers not to wait. */
const ACCEPTED = { description: 'With `Prefer: respond-async`: it has begun', content: { 'application/json': { schema: { $ref: '#/components/schemas/Operation' } } } };

function success(route: Route): object {
  if (!route.answer) return { description: 'Done' };
  return { description: 'Success', content: { [(route.media ?? 'application/json').split(';')[0]!]: { schema: schemaOf(route.answer, 'output') } } };
}

const others = (route: Route): Record<string, object> => Object.fromEntries(Object.entries(route.also ?? {}).map(([status, description]) => [status, { ...(status === '304' ? {} : success(route)), description }]));

function refusals(codes: readonly ProblemCode[]): Record<string, object> {
  const byStatus = Map.groupBy(new Set(codes), code => PROBLEMS[code].status);
  return Object.fromEntries([...byStatus].map(([status, all]) => [status, {
    description: all.map(code => `\`${code}\``).join(', '), content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
  }]));
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, target: 'draft-2020-12' });
  return rest;
}
