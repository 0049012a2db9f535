// Errors as application/problem+json (RFC 9457) with a stable code.
import type { FastifyReply } from 'fastify';
import type { ZodError } from 'zod';
import { TOOLSTACK_ERRORS, ToolstackError } from '../toolstack/errors.ts';

export interface Problem { readonly type: string; readonly title: string; readonly status: number; readonly code: string; readonly detail: string }

export class BadRequest extends Error {
  readonly code: string;
  readonly status: number;
  constructor(code: string, message: string, status = 400) { super(message); this.code = code; this.status = status; }
}

const problem = (status: number, code: string, title: string, detail: string): Problem => ({ type: `urn:xenolith:problem:${code}`, title, status, code, detail });

export function problemOf(error: unknown): Problem {
  if (error instanceof ToolstackError) return problem(TOOLSTACK_ERRORS[error.code].status, error.code, TOOLSTACK_ERRORS[error.code].title, error.message);
  if (error instanceof BadRequest) return problem(error.status, error.code, 'The request cannot be understood', error.message);
  const other = error as { statusCode?: number; message?: string };
  const status = other.statusCode !== undefined && other.statusCode >= 400 && other.statusCode < 500 ? other.statusCode : 500;
  return status === 500 ? problem(500, 'internal', 'Something went wrong in the host', other.message ?? String(error))
    : problem(status, 'bad-request', 'The request cannot be understood', other.message ?? '');
}

export function sendProblem(reply: FastifyReply, error: unknown): FastifyReply {
  const body = problemOf(error);
  return reply.code(body.status).type('application/problem+json').send(JSON.stringify(body));
}

interface Schema<T> { safeParse(value: unknown): { success: true; data: T } | { success: false; error: ZodError } }

/** @throws BadRequest that names the field */
export function validated<T>(schema: Schema<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new BadRequest('invalid-body', `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'not valid'}`);
}
