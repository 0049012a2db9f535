// Routes of consoles in the browser; contract.ts takes them in.
import { z } from 'zod';
import { ACCESS } from '../console/console-room.ts';
import type { Route } from './route.ts';

/** Of a console over WebSocket. */
export const consoleQuery = z.strictObject({
  access: z.enum(ACCESS).default('shared').describe('shared: types with others; exclusive: alone, if nobody does yet; read: only looks on'),
  console: z.string().max(64).optional().describe('with from: the id of the console, as it was told when attached'),
  from: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional().describe('bytes of the output that were seen already'),
});

export const CONSOLE_CONTRACT = {
  consolePage: { method: 'GET', scope: 'none', path: '/consoles/{domain}', tag: 'meta', summary: 'A terminal in the browser, on the console of that domain', answer: z.string(), media: 'text/html; charset=utf-8' },
  consoleAsset: { method: 'GET', scope: 'none', path: '/console-assets/{file}', tag: 'meta', summary: 'Scripts and styles of that page', answer: z.string(), media: 'text/javascript; charset=utf-8', problems: ['no-such-resource'] },
} as const satisfies Readonly<Record<string, Route>>;
