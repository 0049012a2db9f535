// What the API says of itself: health, metrics, its document and the page made of it.
import type { FastifyInstance } from 'fastify';
import { CONTRACT } from './contract.ts';
import { metricsText } from './metrics.ts';
import { openApi } from './openapi.ts';
import { referencePage } from './reference.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

export function metaRoutes(api: FastifyInstance, { toolstack, host, hypercalls }: ApiContext): void {
  const version = host.view().buildId || '0', document = openApi(version), page = referencePage(document);
  serve(api, CONTRACT.openapi, () => document);
  serve(api, CONTRACT.reference, () => page);
  serve(api, CONTRACT.health, () => ({ status: 'ok' as const, domains: toolstack.count }));
  serve(api, CONTRACT.metrics, async () => metricsText(await toolstack.list(), host.view(), hypercalls));
}
