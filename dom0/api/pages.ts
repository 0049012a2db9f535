import type { FastifyReply } from 'fastify';

/** Says where a list goes on. @param query of the next page; what is undefined is left out */
export function linkNext(reply: FastifyReply, path: string, query: Readonly<Record<string, string | number | undefined>>): void {
  const given = Object.entries(query).filter(([, value]) => value !== undefined).map(([name, value]) => [name, String(value)]);
  reply.header('link', `<${path}?${new URLSearchParams(given)}>; rel="next"`);
}
