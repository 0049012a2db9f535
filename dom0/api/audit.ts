// Every change is in the audit log before it is made, and its outcome after; /v1/audit reads it.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { AuditNote } from '../management/audit-entry.ts';
import { CONTRACT } from './contract.ts';
import { isChange, onOutcome } from './outcome.ts';
import { linkNext } from './pages.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

const MAX_BODY_CHARS = 2048;
declare module 'fastify' { interface FastifyRequest { auditSeq: number } }

/** To be called before any route is added. */
export function auditChanges(api: FastifyInstance, { management: { audit } }: Pick<ApiContext, 'management'>): void {
  api.decorateRequest('auditSeq', 0);
  api.addHook('preHandler', (request, _reply, done) => {
    if (!isChange(request) || request.routeOptions.url === undefined) { done(); return; }
    audit.add({ ...noteOf(request), ...(request.body === undefined ? {} : { body: JSON.stringify(request.body).slice(0, MAX_BODY_CHARS) }) })
      .then(seq => { request.auditSeq = seq; done(); }, done);
  });
  onOutcome(api, (request, reply) => {
    if (request.auditSeq > 0) audit.add({ ...noteOf(request), of: request.auditSeq, status: reply.statusCode }).catch(error => request.log.error(error));
  });
}

export function auditRoutes(api: FastifyInstance, { management: { audit } }: ApiContext): void {
  serve(api, CONTRACT.audit, async ({ query, reply }) => {
    // What has happened is in the answer, though the disk is slow.
    await audit.settled();
    const page = audit.page(query.after, query.limit);
    if (page.length === query.limit) linkNext(reply, '/v1/audit', { ...query, after: page.at(-1)!.seq });
    return page;
  });
}

const noteOf = ({ caller, method, url, id }: FastifyRequest): AuditNote => ({ who: caller.who, ...(caller.address === undefined ? {} : { from: caller.address }), what: `${method} ${url.slice(0, MAX_BODY_CHARS)}`, request: id });
