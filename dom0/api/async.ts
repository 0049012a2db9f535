// Answering a call that is an operation: with its result, or at once where the client prefers not to wait.
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Management } from '../management/index.ts';
import type { OperationRun } from '../management/operations.ts';

const prefersAsync = ({ headers: { prefer } }: FastifyRequest): boolean => [prefer ?? []].flat().some(value => /(^|[,;\s])respond-async($|[,;\s])/i.test(value));

/** The operation goes on whether the client stays or not. */
export async function answerOperation<T>({ operations }: Management, { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply }, { id, done }: OperationRun<T>): Promise<T> {
  const path = `/v1/operations/${id}`;
  if (!prefersAsync(request)) { reply.header('operation-location', path); return done; }
  reply.code(202).headers({ location: path, 'operation-location': path, 'preference-applied': 'respond-async' }).send(operations.get(id));
  return reply as never;
}
