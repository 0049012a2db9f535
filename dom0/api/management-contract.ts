// Routes of definitions, operations, tokens and the audit log; contract.ts takes them in.
import { z } from 'zod';
import { auditEntry } from '../management/audit-entry.ts';
import { definitionView, restartChange, restartPolicy } from '../management/definitions.ts';
import { definitionStatus } from '../management/managed-domains.ts';
import { OPERATION_STATES, operationView } from '../management/operations.ts';
import { SCOPES, tokenView } from '../management/tokens.ts';
import { domainConfig } from '../toolstack/config/schema.ts';
import { domainView } from '../toolstack/views.ts';
import type { Route } from './route.ts';

const DAY_LIMIT = 3650;
const limit = z.coerce.number().int().min(1).max(1000).default(100).describe('at most so many; a Link header leads to the next page');

/** A configuration, in either form. */
export const configSource = {
  config: domainConfig.optional().describe('the configuration, or xlcfg'),
  xlcfg: z.string().min(1).max(65_536).optional().describe('the text of an xl.cfg(5) file; paths in it are absolute'),
};
export const oneConfig = ({ config, xlcfg }: { readonly config?: unknown; readonly xlcfg?: unknown }): boolean => (config === undefined) !== (xlcfg === undefined);
export const ONE_CONFIG = { message: 'give either config or xlcfg', path: ['config'] };

const settings = { autostart: z.boolean().default(false).describe('start it with the host'), restart: restartPolicy.prefault({}) };
const definition = z.strictObject({ ...configSource, ...settings }).refine(oneConfig, ONE_CONFIG);

const query = {
  definitions: z.strictObject({ name: z.string().max(255).optional().describe('only names that contain this'), after: z.string().max(255).optional().describe('only names behind this one'), limit }),
  operations: z.strictObject({
    state: z.enum(OPERATION_STATES).optional(), target: z.string().max(255).optional(), before: z.coerce.number().int().min(0).optional().describe('only older ones than this number'), limit,
  }),
  operation: z.strictObject({ wait: z.coerce.number().min(0).max(60).default(0).describe('seconds to wait for its end') }),
  audit: z.strictObject({ after: z.coerce.number().int().min(0).default(0).describe('only entries behind this number'), limit }),
};

export const MANAGEMENT_CONTRACT = {
  definitions: { method: 'GET', path: '/v1/definitions', tag: 'definitions', summary: 'Managed domains by name, whether they run or not', query: query.definitions, answer: z.array(definitionView) },
  define: {
    method: 'POST', path: '/v1/definitions', tag: 'definitions', summary: 'Keeps the definition of a domain; it is started on request, with the host or by its policy. An Idempotency-Key makes repeating safe',
    body: definition, answer: definitionView, status: 201, headers: ['Idempotency-Key'], problems: ['key-reused', 'bad-config', 'bad-name', 'bad-memory', 'bad-disk', 'definition-exists', 'limit-reached', 'path-refused'],
  },
  definition: { method: 'GET', path: '/v1/definitions/{definition}', tag: 'definitions', summary: 'One, by name or UUID; its ETag goes into If-Match', answer: definitionView, headers: ['If-None-Match'], also: { 304: 'It is still the one that the client knows' }, problems: ['definition-not-found'] },
  replaceDefinition: {
    method: 'PUT', path: '/v1/definitions/{definition}', tag: 'definitions', summary: 'Puts another in its place, which may have another name; UUID and running domain stay. With `If-None-Match: *` one that is not there yet is made', body: definition, answer: definitionView,
    headers: ['If-Match', 'If-None-Match'], also: { 201: 'There was none; it is made' }, problems: ['definition-not-found', 'definition-exists', 'precondition-failed', 'bad-config', 'bad-name', 'bad-memory', 'bad-disk', 'path-refused', 'domain-exists'],
  },
  changeDefinition: {
    method: 'PATCH', path: '/v1/definitions/{definition}', tag: 'definitions', summary: 'Renames it, its running domain too; sets autostart or restart policy. What is left out stays',
    body: z.strictObject({ name: z.string().min(1).max(255).optional(), autostart: z.boolean().optional(), restart: restartChange.optional() }), answer: definitionView,
    headers: ['If-Match'], problems: ['definition-not-found', 'definition-exists', 'domain-exists', 'precondition-failed', 'bad-name'],
  },
  undefine: { method: 'DELETE', path: '/v1/definitions/{definition}', tag: 'definitions', summary: 'Forgets it; a domain that runs goes on as one without', headers: ['If-Match'], problems: ['definition-not-found', 'precondition-failed'] },
  definitionStatus: { method: 'GET', path: '/v1/definitions/{definition}/status', tag: 'definitions', summary: 'Whether it runs, how it ended, when it starts next', answer: definitionStatus, problems: ['definition-not-found'] },
  startDefinition: {
    method: 'POST', path: '/v1/definitions/{definition}/start', tag: 'definitions', summary: 'Starts its domain', body: z.strictObject({ paused: z.boolean().default(false) }), answer: domainView, status: 201, async: true,
    problems: ['definition-not-found', 'domain-exists', 'domain-busy', 'bad-memory', 'bad-disk', 'bad-vif', 'bad-kernel', 'bad-ramdisk', 'build-failed', 'not-supported', 'hypervisor', 'path-refused', 'cancelled', 'limit-reached'],
  },

  operations: { method: 'GET', path: '/v1/operations', tag: 'operations', summary: 'Long work, the newest first; the last 1000 are remembered', query: query.operations, answer: z.array(operationView) },
  operation: { method: 'GET', path: '/v1/operations/{operation}', tag: 'operations', summary: 'One: how far it is, or how it ended', query: query.operation, answer: operationView, problems: ['operation-not-found'] },
  cancelOperation: { method: 'POST', path: '/v1/operations/{operation}/cancel', tag: 'operations', summary: 'Ends it, undoing what it made; answers when it has ended', answer: operationView, problems: ['operation-not-found', 'operation-ended'] },

  tokens: { method: 'GET', path: '/v1/tokens', tag: 'access', summary: 'Tokens of remote callers, without their secrets', answer: z.array(tokenView), scope: 'admin' },
  createToken: {
    method: 'POST', path: '/v1/tokens', tag: 'access', summary: 'Makes a token; this answer is the only time it is shown', scope: 'admin', status: 201,
    body: z.strictObject({ name: z.string().min(1).max(64).regex(/^[\w.@ -]+$/, 'letters, digits, spaces and _.@-'), scope: z.enum(SCOPES), days: z.number().positive().max(DAY_LIMIT).optional().describe('that it holds; else until revoked') }),
    answer: tokenView.unwrap().extend({ token: z.string() }), problems: ['limit-reached'],
  },
  revokeToken: { method: 'DELETE', path: '/v1/tokens/{token}', tag: 'access', summary: 'It no longer holds; its connections are cut', scope: 'admin', problems: ['token-not-found'] },
  audit: { method: 'GET', path: '/v1/audit', tag: 'access', summary: 'Who changed what, in order', query: query.audit, answer: z.array(auditEntry), scope: 'admin' },
} as const satisfies Readonly<Record<string, Route>>;
