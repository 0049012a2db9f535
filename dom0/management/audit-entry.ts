// One line of the audit log.
import { createHash } from 'node:crypto';
import { z } from 'zod';

export const auditEntry = z.object({
  seq: z.number().int(), at: z.string().describe('ISO 8601'), who: z.string().describe('token:ID (its name), uid:N on the Unix socket, host'),
  from: z.string().optional().describe('address of a remote caller'),
  what: z.string().describe('method and path, or what the host did by itself'), request: z.string().optional(), body: z.string().optional(),
  of: z.number().int().optional().describe('the entry whose outcome this is'), status: z.number().int().optional(), detail: z.string().optional(),
  chain: z.string(),
}).readonly();
export type AuditEntry = z.infer<typeof auditEntry>;
export type AuditNote = Omit<AuditEntry, 'seq' | 'at' | 'chain'>;

const CHAIN_CHARS = 32;
/** What the first entry of all follows from. */
export const NONE = '0'.repeat(CHAIN_CHARS);
/** First entry of every file but the first; its detail is the hash that it follows from. */
export const BEGINS = 'audit log: begins a new file';

/** @param before hash of the entry before */
export function sealed({ chain: _, ...fields }: Omit<AuditEntry, 'chain'> & { readonly chain?: string }, before: string): { readonly text: string; readonly chain: string } {
  const text = JSON.stringify(fields), chain = createHash('sha256').update(before).update(text).digest('hex').slice(0, CHAIN_CHARS);
  return { text: JSON.stringify({ ...fields, chain }), chain };
}

export function parsed(text: string): AuditEntry | undefined {
  try { const { success, data } = auditEntry.safeParse(JSON.parse(text)); return success ? data : undefined; } catch { return undefined; }
}
