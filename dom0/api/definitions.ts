// /v1/definitions: managed domains.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { restartPolicy, type Definition, type Settings } from '../management/definitions.ts';
import { ManagementError } from '../management/errors.ts';
import type { DomainConfig } from '../toolstack/config/schema.ts';
import { checkConfig } from '../toolstack/create.ts';
import { answerOperation } from './async.ts';
import { configFrom } from './config-source.ts';
import { CONTRACT } from './contract.ts';
import { once } from './idempotency.ts';
import { linkNext } from './pages.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

const RACES_MAX = 8;

export function definitionRoutes(api: FastifyInstance, { toolstack, management }: ApiContext): void {
  const { definitions, managed, roots } = management;
  const confined = async (config: DomainConfig, request: FastifyRequest): Promise<{ config: DomainConfig; confined: boolean }> => ({ config: request.caller.remote ? await roots.confine(config) : config, confined: request.caller.remote });
  const changed = (definition: Definition): Definition => { management.publish({ type: 'definition-changed', data: definition }); return definition; };

  serve(api, CONTRACT.definitions, ({ query, reply }) => {
    const page = definitions.list(query);
    if (page.length === query.limit) linkNext(reply, '/v1/definitions', { ...query, after: page.at(-1)!.name });
    return page;
  });
  serve(api, CONTRACT.define, async ({ body: { config, xlcfg, ...settings }, request, reply }) => {
    const run = async (): Promise<Definition> => changed(definitions.add({ ...settings, ...await confined(configFrom({ config, xlcfg }), request) }));
    return shown(reply, await once(management, request, { request: { config, xlcfg, settings }, run }));
  });
  serve(api, CONTRACT.definition, ({ params, request, reply }) => {
    const definition = definitions.get(params.definition);
    if (names(request.headers['if-none-match'], definition)) return reply.header('etag', etagOf(definition)).code(304).send();
    return shown(reply, definition);
  });
  serve(api, CONTRACT.replaceDefinition, async ({ params, body: { config, xlcfg, ...settings }, request, reply }) => {
    const wanted = { ...settings, ...await confined(configFrom({ config, xlcfg }), request) };
    if (request.headers['if-none-match'] === '*') {
      if (definitions.find(params.definition)) throw new ManagementError('precondition-failed', `definition ${params.definition} exists already`);
      if (params.definition !== wanted.config.name && params.definition !== wanted.config.uuid) throw new ManagementError('bad-config', `the configuration is of ${wanted.config.name}, not ${params.definition}`);
      return reply.code(201).send(shown(reply, changed(definitions.add(wanted))));
    }
    return shown(reply, changed(await latest(request, () => change(matching(definitions.get(params.definition), request), wanted))));
  });
  serve(api, CONTRACT.changeDefinition, async ({ params, body: { name, autostart, restart }, request, reply }) => {
    return shown(reply, changed(await latest(request, () => {
      const before = matching(definitions.get(params.definition), request), config = { ...before.config, name: name ?? before.name };
      checkConfig(config);
      return change(before, { config, ...(autostart === undefined ? {} : { autostart }), ...(restart ? { restart: restartPolicy.parse({ ...before.restart, ...restart }) } : {}) });
    })));
  });
  serve(api, CONTRACT.undefine, ({ params, request }) => {
    const { uuid, name } = matching(definitions.get(params.definition), request);
    managed.remove(uuid);
    management.publish({ type: 'definition-removed', data: { uuid, name } });
  });
  serve(api, CONTRACT.definitionStatus, ({ params }) => managed.status(definitions.get(params.definition).uuid));
  serve(api, CONTRACT.startDefinition, call => answerOperation(management, call, managed.start(definitions.get(call.params.definition), call.request.caller.who, call.body.paused)));

  /** A domain that runs has its new name first: a host killed in between has no domain any more. */
  async function change(before: Definition, settings: Partial<Settings> & Pick<Settings, 'config'>): Promise<Definition> {
    const { uuid } = before, { name } = settings.config, running = toolstack.withUuid(uuid);
    definitions.mustBeFree(name, uuid);
    // Not back from the name that another change gives it just now.
    const rename = running !== undefined && name !== before.name && running.name !== name;
    if (rename) await toolstack.perform({ action: 'rename', domain: running.domid, name });
    try { return definitions.change(uuid, settings, before.revision); } catch (error) {
      if (rename) await toolstack.perform({ action: 'rename', domain: running.domid, name: running.name });
      throw error;
    }
  }
}

/** Who names no revision changes whatever is there, also where another was quicker. */
async function latest<T>({ headers }: FastifyRequest, attempt: () => Promise<T>): Promise<T> {
  for (let left = RACES_MAX; ; left--) try { return await attempt(); } catch (error) {
    if (left === 0 || headers['if-match'] !== undefined || !(error instanceof ManagementError && error.code === 'precondition-failed')) throw error;
  }
}
const etagOf = ({ uuid, revision }: Definition): string => `"${uuid}-${revision}"`;
function shown(reply: FastifyReply, definition: Definition): Definition {
  reply.header('etag', etagOf(definition));
  return definition;
}

/** Whether a header of entity tags names the definition as it is. */
function names(header: string | undefined, definition: Definition): boolean {
  return header !== undefined && header.split(',').some(tag => [etagOf(definition), '*'].includes(tag.trim().replace(/^W\//, '')));
}

/** @throws ManagementError 'precondition-failed' */
function matching(definition: Definition, { headers }: FastifyRequest): Definition {
  if (headers['if-match'] !== undefined && !names(headers['if-match'], definition)) throw new ManagementError('precondition-failed', `definition ${definition.name} is at ${etagOf(definition)}: read it again`);
  return definition;
}
