// What both of the API's HTTP servers have in common, so that every answer is the API's own.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { CONSOLE_PROTOCOL } from './console-protocol.ts';
import { BadRequest, problemOf } from './problem.ts';

const UPGRADES: ReadonlySet<string | undefined> = new Set(['websocket', CONSOLE_PROTOCOL]);
/** Offers of other protocols (h2c of curl --http2) are left alone, as RFC 9110, 7.8 has it. */
export const HTTP_OPTIONS = { requireHostHeader: false, shouldUpgradeCallback: ({ headers }: IncomingMessage): boolean => UPGRADES.has(headers.upgrade?.toLowerCase()) };

/** RFC 9110, 7.2: Node would refuse it without a problem document. */
export function requireHost(api: FastifyInstance): void {
  api.addHook('onRequest', ({ raw }, _reply, done) => { done(raw.headers.host === undefined && raw.httpVersionMajor === 1 && raw.httpVersionMinor > 0 ? new BadRequest('bad-request', 'the request has no Host header') : undefined); });
}
/** For what is expected beside 100-continue. */
export function refuseExpectations(server: Pick<Server, 'on'>): void {
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    const problem = problemOf(new BadRequest('expectation-failed', `nothing here meets "Expect: ${request.headers.expect}"`)), body = JSON.stringify(problem);
    response.writeHead(problem.status, { 'content-type': 'application/problem+json', 'content-length': Buffer.byteLength(body), connection: 'close' }).end(body);
  });
}
