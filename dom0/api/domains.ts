// /v1/domains: list, create, describe, act, plug interfaces, wait for the end.
import type { FastifyInstance } from 'fastify';
import type { OperationRun } from '../management/operations.ts';
import type { Action, DomainView } from '../toolstack/action.ts';
import { answerOperation } from './async.ts';
import { configFrom } from './config-source.ts';
import { CONTRACT } from './contract.ts';
import { destroyDomain, endLife, renameDomain, suspendDomain } from './lifecycle.ts';
import { once } from './idempotency.ts';
import { BadRequest } from './problem.ts';
import { serve, type QueryOf } from './route.ts';
import type { ApiContext } from './server.ts';

export function domainRoutes(api: FastifyInstance, context: ApiContext): void {
  const { toolstack, management } = context, { operations, roots } = management, runs = new WeakMap<Promise<DomainView>, OperationRun<DomainView>>();
  serve(api, CONTRACT.domains, async ({ query, reply }) => {
    const found = filtered(await toolstack.list(), query), page = query.limit === undefined ? found : found.slice(0, query.limit);
    if (page.length < found.length) {
      const { after: _, ...rest } = query, next = new URLSearchParams({ ...rest, after: page.at(-1)!.domid } as unknown as Record<string, string>);
      reply.header('link', `</v1/domains?${next}>; rel="next"`);
    }
    return page;
  });
  serve(api, CONTRACT.createDomain, async call => {
    const { body, request } = call, { caller } = request, { paused } = body;
    const begin = (): OperationRun<DomainView> => {
      const config = configFrom(body);
      return operations.run({ kind: 'create', target: config.name, who: caller.who }, async watch => (await toolstack.perform({ action: 'create', config: caller.remote ? await roots.confine(config) : config, paused }, watch))!);
    };
    let begun: OperationRun<DomainView> | undefined;
    const done = once(management, request, { request: body, run: () => { begun = begin(); return begun.done; } });
    if (begun) runs.set(done, begun);
    const run = runs.get(done);
    return run ? answerOperation(management, call, run) : done;
  });
  serve(api, CONTRACT.domain, ({ params }) => toolstack.describe(params.domain));
  serve(api, CONTRACT.config, ({ params }) => toolstack.config(params.domain));
  serve(api, CONTRACT.destroy, call => answerOperation(management, call, destroyDomain(context, call)));
  serve(api, CONTRACT.act, call => {
    const { params, body } = call;
    if (body.action === 'shutdown' || body.action === 'reboot') return answerOperation(management, call, endLife(context, call, body.action));
    if (body.action === 'suspend') return answerOperation(management, call, suspendDomain(context, call));
    if (body.action === 'rename') return renameDomain(context, params.domain, body.name);
    return toolstack.perform({ ...body, domain: params.domain } as Action) as Promise<DomainView>;
  });
  serve(api, CONTRACT.console, ({ params }) => { throw new BadRequest('upgrade-required', `ask for /v1/domains/${params.domain}/console with Connection: Upgrade`); });
  serve(api, CONTRACT.vifs, async ({ params }) => (await toolstack.describe(params.domain)).vifs);
  serve(api, CONTRACT.attachVif, async ({ params, body }) => (await toolstack.perform({ action: 'attach-vif', domain: params.domain, vif: body } as Action))!);
  serve(api, CONTRACT.detachVif, async ({ params }) => { await toolstack.perform({ action: 'detach-vif', ...params }); });
  serve(api, CONTRACT.setCarrier, async ({ params, body }) => (await toolstack.perform({ action: 'set-carrier', ...params, ...body }))!);
  serve(api, CONTRACT.restartVif, async ({ params }) => (await toolstack.perform({ action: 'restart-vif', ...params }))!);
  serve(api, CONTRACT.waitEnd, ({ params, reply }) => {
    const gone = new AbortController();
    reply.raw.on('close', () => gone.abort());
    return toolstack.waitEnd(params.domain, gone.signal);
  });
}

function filtered(domains: readonly DomainView[], { name, state, after }: QueryOf<typeof CONTRACT.domains>): DomainView[] {
  const inState = (d: DomainView): boolean => state === undefined || (state === 'running' ? !d.paused && !d.shutdown && !d.crashed && !d.dying : d[state]);
  return domains.filter(d => (name === undefined || d.name.includes(name)) && inState(d) && d.domid > (after ?? -1));
}
