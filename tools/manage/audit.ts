// `xenolith audit`: who changed what, and whether that record is whole.
import { existsSync } from 'node:fs';
import { runFolder } from '../../dom0/api/run-folder.ts';
import type { AuditEntry } from '../../dom0/management/audit-entry.ts';
import { verifyAudit } from '../../dom0/management/audit-files.ts';
import { stateFolder } from '../../dom0/management/state-folder.ts';
import { Client } from '../xl/client.ts';
import { numberOf, runVerb, verbUsage, type Verb } from './arguments.ts';

const PAGE = 1000;

const VERBS: readonly Verb[] = [
  { name: 'show', usage: '[--after N] [--limit N] [--json]', summary: 'changes in order, of the host that runs', words: [0, 0], values: ['after', 'limit'], flags: ['json'], run: async given => {
    const client = new Client(runFolder().socket);
    let after = numberOf(given.value('after'), '--after', 0), left = numberOf(given.value('limit'), '--limit', Infinity);
    while (left > 0) {
      const page = await client.audit(after, Math.min(left, PAGE));
      process.stdout.write(page.map(entry => `${given.flag('json') ? JSON.stringify(entry) : line(entry)}\n`).join(''));
      if (page.length === 0) break;
      left -= page.length;
      after = page.at(-1)!.seq;
    }
    return 0;
  } },
  { name: 'verify', usage: '[FILE]', summary: 'read the files and their chain of hashes: status 1 if it is broken', words: [0, 1], run: ({ words: [file = stateFolder().audit] }) => verify(file) },
];

export const AUDIT_USAGE = verbUsage('audit', VERBS, 'FILE is audit.jsonl of a state folder, with its older files (audit.jsonl.NUMBER) beside it; no host needs to run.');
export const runAudit = (argv: readonly string[]): Promise<number> => runVerb(argv, AUDIT_USAGE, VERBS);

const line = ({ seq, at, who, from, what, of, status, detail }: AuditEntry): string =>
  [seq, at.slice(0, 19).replace('T', ' '), who, ...(from === undefined ? [] : [`from ${from}`]), what, ...(of === undefined ? [] : [`(${of}: ${status})`]), ...(detail === undefined ? [] : [detail])].join('  ');

function verify(file: string): number {
  if (!existsSync(file)) { process.stderr.write(`there is no ${file}\n`); return 1; }
  const { files, entries, firstSeq, lastSeq, brokenAt, tornBytes } = verifyAudit(file);
  process.stdout.write(`${entries} entries, ${firstSeq} to ${lastSeq}, in ${files} ${files === 1 ? 'file' : 'files'}${tornBytes > 0 ? `; the last line is cut off (${tornBytes} bytes)` : ''}\n`);
  if (brokenAt !== undefined) process.stdout.write(`entry ${brokenAt} does not follow from the one before: something was changed or taken out\n`);
  return brokenAt === undefined ? 0 : 1;
}
