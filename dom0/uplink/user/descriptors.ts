// How many of this process' descriptors guests may take up together: opening a disk, answering the API and a console
// take some, too. Node has raised its own limit as far as it may be raised.
import { readFileSync } from 'node:fs';

/** Left to the rest, where there are many. */
const RESERVED = 4096;
const USUAL_LIMIT = 1024;

export interface DescriptorShares { readonly connections: number; readonly flows: number; readonly queries: number }

/** @param limits as in /proc/self/limits */
export function sharesOf(limits: string): DescriptorShares {
  const text = /^Max open files +(\d+|unlimited)/m.exec(limits)?.[1], open = text === 'unlimited' ? Infinity : Number(text ?? USUAL_LIMIT);
  return { connections: Math.max(open - RESERVED, Math.floor(open / 2)), flows: Math.floor(open / 8), queries: Math.floor(open / 16) };
}

let shares: DescriptorShares | undefined;
export function descriptorShares(): DescriptorShares {
  if (!shares) { let limits = ''; try { limits = readFileSync('/proc/self/limits', 'utf8'); } catch { /* another kind of system */ } shares = sharesOf(limits); }
  return shares;
}
