// /v1/tokens: who may call from outside.
import type { FastifyInstance } from 'fastify';
import { CONTRACT } from './contract.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

const DAY_MS = 86_400_000;

export function tokenRoutes(api: FastifyInstance, { management: { tokens } }: ApiContext): void {
  serve(api, CONTRACT.tokens, () => tokens.list());
  serve(api, CONTRACT.createToken, ({ body: { name, scope, days }, reply }) => {
    const { token, view } = tokens.create(name, scope, days === undefined ? undefined : Date.now() + days * DAY_MS);
    reply.header('cache-control', 'no-store');
    return { ...view, token };
  });
  serve(api, CONTRACT.revokeToken, ({ params }) => tokens.revoke(params.token));
}
