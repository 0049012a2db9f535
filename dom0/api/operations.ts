// /v1/operations: long work.
import type { FastifyInstance } from 'fastify';
import { CONTRACT } from './contract.ts';
import { linkNext } from './pages.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

export function operationRoutes(api: FastifyInstance, { management: { operations } }: ApiContext): void {
  serve(api, CONTRACT.operations, ({ query, reply }) => {
    const page = operations.list(query);
    if (page.length === query.limit) linkNext(reply, '/v1/operations', { ...query, before: page.at(-1)!.number });
    return page;
  });
  serve(api, CONTRACT.operation, ({ params, query }) => operations.ended(params.operation, query.wait * 1000));
  serve(api, CONTRACT.cancelOperation, ({ params }) => operations.cancel(params.operation));
}
