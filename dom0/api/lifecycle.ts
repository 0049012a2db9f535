// What ends or renames a domain, as operations; the definition that the domain belongs to is told.
import type { FastifyRequest } from 'fastify';
import type { OperationRun } from '../management/operations.ts';
import type { DomainView } from '../toolstack/action.ts';
import { checkConfig } from '../toolstack/create.ts';
import type { Watch } from '../toolstack/watch.ts';
import type { ApiContext } from './server.ts';

interface EndCall { readonly params: { readonly domain: string }; readonly query: { readonly until: 'acknowledged' | 'ended' }; readonly request: FastifyRequest }
type Context = Pick<ApiContext, 'toolstack' | 'management'>;

export function destroyDomain({ toolstack, management: { operations, managed } }: Context, { params, request }: Pick<EndCall, 'params' | 'request'>): OperationRun<void> {
  const { name, uuid } = toolstack.config(params.domain), domain = toolstack.domid(params.domain);
  return operations.run({ kind: 'destroy', target: name, who: request.caller.who }, () => managed.stopping(uuid, async () => { await toolstack.perform({ action: 'destroy', domain }); }));
}

/** Asks the guest to shut down or to reboot. */
export function endLife({ toolstack, management: { operations, managed } }: Context, { params, query, request }: EndCall, action: 'shutdown' | 'reboot'): OperationRun<DomainView> {
  const { name, uuid } = toolstack.config(params.domain), domain = toolstack.domid(params.domain);
  const ask = async (watch: Watch): Promise<DomainView> => {
    const view = (await toolstack.perform({ action, domain }, watch))!;
    if (query.until === 'acknowledged') return view;
    watch.step?.('ending', 1, 2);
    await toolstack.waitEnd(domain, watch.signal).catch(error => {
      watch.signal?.throwIfAborted();
      if (toolstack.withUuid(uuid)?.domid === domain) throw error;
    });
    return view;
  };
  return operations.run({ kind: action, target: name, who: request.caller.who }, watch => action === 'shutdown' ? managed.stopping(uuid, () => ask(watch)) : ask(watch));
}

/** Its definition is not told: what is suspended has not ended. */
export function suspendDomain({ toolstack, management: { operations } }: Context, { params, request }: Pick<EndCall, 'params' | 'request'>): OperationRun<DomainView> {
  const { name } = toolstack.config(params.domain), domain = toolstack.domid(params.domain);
  return operations.run({ kind: 'suspend', target: name, who: request.caller.who }, async watch => (await toolstack.perform({ action: 'suspend', domain }, watch))!);
}

export async function renameDomain({ toolstack, management }: Context, domain: string, name: string): Promise<DomainView> {
  const { uuid } = toolstack.config(domain), { definitions } = management, definition = definitions.find(uuid);
  if (!definition) return (await toolstack.perform({ action: 'rename', domain, name }))!;
  checkConfig({ ...definition.config, name });
  definitions.mustBeFree(name, uuid);
  const view = (await toolstack.perform({ action: 'rename', domain, name }))!;
  management.publish({ type: 'definition-changed', data: definitions.change(uuid, { config: { ...definitions.get(uuid).config, name } }) });
  return view;
}
