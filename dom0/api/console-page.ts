// /consoles/{domain}: xterm.js on a domain's console. Page and scripts hold no secrets: who may open the console is asked
// when the page connects to it.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { CONTRACT } from './contract.ts';
import { BadRequest } from './problem.ts';
import { serve } from './route.ts';

const JAVASCRIPT = 'text/javascript; charset=utf-8', CSS = 'text/css; charset=utf-8';
/** Files of packages by the name they are served under, and those beside this module. */
const ASSETS: Readonly<Record<string, readonly [source: string, media: string]>> = {
  'xterm.js': ['@xterm/xterm/lib/xterm.js', JAVASCRIPT], 'xterm.css': ['@xterm/xterm/css/xterm.css', CSS], 'addon-fit.js': ['@xterm/addon-fit/lib/addon-fit.js', JAVASCRIPT],
  'console.js': ['./console.js', JAVASCRIPT], 'console.css': ['./console.css', CSS],
};
/** xterm.js sets styles of elements. */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Console</title>
<link rel="stylesheet" href="/console-assets/xterm.css"><link rel="stylesheet" href="/console-assets/console.css">
<header><b id="name"></b> <span id="state">connecting</span> <button id="take">Take over</button><button id="release">Give back</button><button id="size">Tell the guest the size</button></header>
<main id="terminal"></main>
<script src="/console-assets/xterm.js"></script><script src="/console-assets/addon-fit.js"></script><script src="/console-assets/console.js"></script></html>
`;

export function consolePageRoutes(api: FastifyInstance): void {
  const require = createRequire(import.meta.url), kept = new Map<string, Buffer>();
  const load = (source: string): Buffer => {
    let data = kept.get(source);
    if (!data) kept.set(source, data = readFileSync(source.startsWith('./') ? join(import.meta.dirname, 'page', source) : require.resolve(source)));
    return data;
  };
  serve(api, CONTRACT.consolePage, ({ reply }) => guarded(reply, 'text/html; charset=utf-8').send(PAGE));
  serve(api, CONTRACT.consoleAsset, ({ params: { file }, reply }) => {
    const asset = Object.hasOwn(ASSETS, file) ? ASSETS[file] : undefined;
    if (!asset) throw new BadRequest('no-such-resource', `the page has no ${file}`);
    return guarded(reply, asset[1]).send(load(asset[0]));
  });
}

const guarded = (reply: FastifyReply, media: string): FastifyReply => reply.type(media).headers({ 'content-security-policy': POLICY, 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' });
