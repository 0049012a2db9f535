// One entry of the contract, and serving it: the schemas are the validation, the handler's types and the document.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Scope } from '../management/tokens.ts';
import type { ProblemCode } from './problem.ts';
import { validated } from './problem.ts';

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As in OpenAPI: `/v1/domains/{domain}`. */
  readonly path: string;
  readonly tag: 'host' | 'domains' | 'definitions' | 'operations' | 'devices' | 'xenstore' | 'debugging' | 'access' | 'meta';
  readonly summary: string;
  readonly query?: z.ZodObject;
  /** All fields optional: the body may be left out. */
  readonly body?: z.ZodType;
  /** Absent: no content. */
  readonly answer?: z.ZodType;
  /** Of the answer; default application/json. */
  readonly media?: string;
  /** Of success; default 200, 204 without an answer. */
  readonly status?: number;
  /** Statuses of success that some headers lead to, and what they say. */
  readonly also?: Readonly<Record<number, string>>;
  /** Request headers that it looks at. */
  readonly headers?: readonly string[];
  readonly problems?: readonly ProblemCode[];
  /** That a remote caller's token has to have; default read for GET, else operate. */
  readonly scope?: Scope | 'none';
  /** Goes on until the client leaves: there is no HEAD of it. */
  readonly endless?: true;
  /** With `Prefer: respond-async` it is answered at once, by the operation. */
  readonly async?: true;
}
declare module 'fastify' { interface FastifyContextConfig { readonly scope?: Scope | 'none' } }

type ParamNames<Path> = Path extends `${string}{${infer Name}}${infer Rest}` ? Name | ParamNames<Rest> : never;
export type ParamsOf<R extends Route> = { readonly [name in ParamNames<R['path']>]: string };
export type QueryOf<R extends Route> = R extends { readonly query: infer S extends z.ZodType } ? z.output<S> : undefined;
export type BodyOf<R extends Route> = R extends { readonly body: infer S extends z.ZodType } ? z.output<S> : undefined;
export type AnswerOf<R extends Route> = R extends { readonly answer: infer S extends z.ZodType } ? z.output<S> : void;

export interface Call<R extends Route> {
  readonly params: ParamsOf<R>; readonly query: QueryOf<R>; readonly body: BodyOf<R>;
  readonly request: FastifyRequest;
  /** A handler that hijacks it answers by itself. */
  readonly reply: FastifyReply;
}
export type Handler<R extends Route> = (call: Call<R>) => AnswerOf<R> | Promise<AnswerOf<R>> | FastifyReply;

/** Longest domain name, device or bridge in a path; as it is sent, each of its characters may be three bytes as %XX. */
const MAX_PARAM_CHARS = 255;
export const MAX_SENT_PARAM_CHARS = MAX_PARAM_CHARS * 9;

export const PARAM = z.string().min(1).max(MAX_PARAM_CHARS);
const NONE = z.strictObject({});

export const statusOf = (route: Route): number => route.status ?? (route.answer ? 200 : 204);
export const scopeOf = (route: Route): Scope | 'none' => route.scope ?? (route.method === 'GET' ? 'read' : 'operate');
export const paramNames = (path: string): string[] => [...path.matchAll(/\{(\w+)\}/g)].map(match => match[1]!);

/** Which methods the routes have at a path as it is sent. */
export function methodsOf(routes: readonly Route[]): (path: string) => string[] {
  const known = routes.map(({ method, path, endless }) => ({ methods: method === 'GET' && !endless ? ['GET', 'HEAD'] : [method], pattern: new RegExp(`^${path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]+')}$`) }));
  return path => [...new Set(known.filter(r => r.pattern.test(path)).flatMap(r => r.methods))];
}

function respond(route: Route, reply: FastifyReply, answer: unknown): void {
  if (reply.sent || reply.raw.headersSent || answer === reply) return;
  reply.code(statusOf(route));
  if (route.answer) reply.type(route.media ?? 'application/json; charset=utf-8').send(answer); else reply.send();
}

export function serve<R extends Route>(api: FastifyInstance, route: R, handler: Handler<R>): void {
  api.route({
    method: route.method, url: route.path.replace(/\{(\w+)\}/g, ':$1'), config: { scope: scopeOf(route) }, exposeHeadRoute: !route.endless,
    // Answers by itself: of a promise of the reply, fastify would make listeners for every way in which an answer may end.
    handler: (request, reply) => {
      const params = request.params as ParamsOf<R>;
      for (const name in params) validated(PARAM, params[name as keyof typeof params], name);
      const query = validated(route.query ?? NONE, request.query, 'query') as QueryOf<R>;
      const body = validated(route.body ?? NONE, request.body ?? {}) as BodyOf<R>;
      const answer = handler({ params, query, body, request, reply });
      if (answer instanceof Promise) answer.then(result => respond(route, reply, result)).catch((error: unknown) => reply.send(error)); else respond(route, reply, answer);
    },
  });
}
