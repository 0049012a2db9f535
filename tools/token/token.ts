// `xenolith token`: who may call the host from elsewhere.
import { parseArgs } from 'node:util';
import { runFolder } from '../../dom0/api/run-folder.ts';
import { SCOPES, type Scope, type TokenView } from '../../dom0/management/tokens.ts';
import { Client } from '../xl/client.ts';

export const TOKEN_USAGE = `Usage: xenolith token create NAME [--scope read|operate|admin] [--days N]
       xenolith token list
       xenolith token revoke ID

Tokens are for callers over TCP (xenolith host --listen). "create" prints the token, which is not shown again:
curl -H "Authorization: Bearer TOKEN" ... The default scope is read.
`;

export class TokenUsageError extends Error {}

/** @returns the exit code @throws TokenUsageError */
export async function runToken(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) { process.stdout.write(TOKEN_USAGE); return 0; }
  const { verb, name, scope, days } = parsed(argv), client = new Client(runFolder().socket);
  if (verb === 'create') process.stdout.write(`${(await client.createToken({ name: name!, scope, ...(days === undefined ? {} : { days }) })).token}\n`);
  if (verb === 'revoke') await client.revokeToken(name!);
  if (verb === 'list') process.stdout.write(tokenTable(await client.tokens(), Date.now()));
  return 0;
}

function parsed(argv: readonly string[]): { readonly verb: string; readonly name?: string | undefined; readonly scope: Scope; readonly days?: number } {
  const { positionals: [verb, name, ...rest], values } = (() => {
    try { return parseArgs({ args: [...argv], allowPositionals: true, options: { scope: { type: 'string' }, days: { type: 'string' } } }); } catch (error) { throw new TokenUsageError((error as Error).message); }
  })();
  if (!['create', 'list', 'revoke'].includes(verb ?? '') || rest.length > 0 || (verb === 'list') !== (name === undefined)) throw new TokenUsageError('create with a name, list, or revoke with an id');
  const scope = SCOPES.find(s => s === (values.scope ?? 'read')), days = values.days === undefined ? undefined : Number(values.days);
  if (!scope) throw new TokenUsageError(`a scope is one of ${SCOPES.join(', ')}`);
  if (days !== undefined && !(days > 0)) throw new TokenUsageError(`"${values.days}" is no number of days`);
  return { verb: verb!, name, scope, ...(days === undefined ? {} : { days }) };
}

export function tokenTable(tokens: readonly TokenView[], nowMs: number): string {
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
  const state = ({ revokedMs, expiresMs }: TokenView): string => revokedMs !== undefined ? `revoked ${day(revokedMs)}` : expiresMs === undefined ? 'holds' : expiresMs <= nowMs ? `ran out ${day(expiresMs)}` : `holds until ${day(expiresMs)}`;
  const rows = [['ID', 'Scope', 'Made', 'State', 'Name'], ...tokens.map(token => [token.id, token.scope, day(token.createdMs), state(token), token.name])];
  const widths = [0, 1, 2, 3].map(column => Math.max(...rows.map(row => row[column]!.length)));
  return rows.map(row => `${row.map((cell, i) => i < widths.length ? cell.padEnd(widths[i]!) : cell).join('  ')}\n`).join('');
}
