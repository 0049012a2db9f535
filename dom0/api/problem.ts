// Errors as application/problem+json (RFC 9457) with a stable code.
import type { FastifyReply } from 'fastify';
import { z, type ZodError } from 'zod';
import { CodedError } from '../coded-error.ts';
import { MANAGEMENT_ERRORS } from '../management/errors.ts';
import { TOOLSTACK_ERRORS } from '../toolstack/errors.ts';

/** What is refused before the toolstack is asked. */
export const REQUEST_ERRORS = {
  'bad-request': { status: 400, title: 'The request cannot be understood' },
  'invalid-body': { status: 400, title: 'The request cannot be understood' },
  'bad-address': { status: 400, title: 'The request cannot be understood' },
  'unauthorized': { status: 401, title: 'Who asks is not known' },
  'forbidden': { status: 403, title: 'The token does not allow that' },
  'too-many-requests': { status: 429, title: 'Too many requests' },
  'too-slow': { status: 408, title: 'The request did not arrive in time' },
  'no-such-resource': { status: 404, title: 'There is nothing of that name' },
  'wrong-origin': { status: 403, title: 'The page is not of this host' },
  'method-not-allowed': { status: 405, title: 'That is not done there' },
  'expectation-failed': { status: 417, title: 'What the request expects is not offered' },
  'no-such-node': { status: 404, title: 'There is no such node in xenstore' },
  'bad-path': { status: 422, title: 'Xenstore refuses that' },
  'no-such-bridge': { status: 404, title: 'There is no such bridge' },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'unsupported-media-type': { status: 415, title: 'The body is of a kind that is not understood' },
  'upgrade-required': { status: 426, title: 'The connection has to be upgraded' },
  'too-many-readers': { status: 503, title: 'Too many readers' },
  'internal': { status: 500, title: 'Something went wrong in the host' },
} as const;
export const PROBLEMS = { ...REQUEST_ERRORS, ...TOOLSTACK_ERRORS, ...MANAGEMENT_ERRORS };
export type RequestErrorCode = keyof typeof REQUEST_ERRORS;
export type ProblemCode = keyof typeof PROBLEMS;

export const problemSchema = z.object({
  type: z.string(), title: z.string(), status: z.number().int(), code: z.enum(Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]]), detail: z.string(),
}).readonly();
export type Problem = z.infer<typeof problemSchema>;

export class BadRequest extends CodedError<RequestErrorCode> {}

const problem = (code: ProblemCode, detail: string, status: number = PROBLEMS[code].status): Problem => ({ type: `urn:xenolith:problem:${code}`, title: PROBLEMS[code].title, status, code, detail });

export function problemOf(error: unknown): Problem {
  if (error instanceof CodedError && Object.hasOwn(PROBLEMS, error.code)) return problem(error.code as ProblemCode, error.message);
  const { statusCode: status = 500, message = String(error) } = error as { statusCode?: number; message?: string };
  if (status === 413) return problem('body-too-large', message);
  if (status === 415) return problem('unsupported-media-type', message);
  return status >= 400 && status < 500 ? problem('bad-request', message, status) : problem('internal', message);
}

export function sendProblem(reply: FastifyReply, error: unknown): FastifyReply {
  const body = problemOf(error);
  return reply.code(body.status).type('application/problem+json').send(JSON.stringify(body));
}

interface Schema<T> { safeParse(value: unknown): { success: true; data: T } | { success: false; error: ZodError } }

/** @param what is being looked at @throws BadRequest that names the field */
export function validated<T>(schema: Schema<T>, value: unknown, what = 'body'): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new BadRequest('invalid-body', `${issue?.path.join('.') || what}: ${issue?.message ?? 'not valid'}`);
}
