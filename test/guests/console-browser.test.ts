// A person opens a Debian guest's console in a browser: Debian's Chromium, the page that the host serves, xterm.js.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { GuestShell, TestHost } from './guest-shell.ts';

const LIMIT_MS = 240_000, WAIT_MS = 60_000, CHROMIUM = '/usr/bin/chromium';
let dir = '', host: TestHost | undefined, guest: GuestShell | undefined, browser: Browser | undefined, forwarder: Server | undefined, url = '', tlsPort = 0;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-browser-'));
  try {
    if (!existsSync(CHROMIUM)) throw new Error(`there is no ${CHROMIUM}`);
    const demo = await prepareDemo({ cacheDir: defaultCacheDir() });
    tlsPort = await freePort();
    host = await TestHost.start(join(dir, 'run'), '--listen', `127.0.0.1:${tlsPort}`);
    guest = await GuestShell.boot(host.client, 'browsed', { kernel: demo.kernelPath, ramdisk: demo.ramdiskPath }, []);
    await guest.run('stty echo; PS1="guest# "');
    const { socketPath } = host.client;
    // As `ssh -L` or socat would: a port of this machine's loopback for the host's socket.
    forwarder = createServer(from => { const to = connect(socketPath); from.pipe(to).pipe(from); from.on('error', () => to.destroy()); to.on('error', () => from.destroy()); });
    await new Promise<void>(resolve => { forwarder!.listen(0, '127.0.0.1', resolve); });
    url = `http://127.0.0.1:${(forwarder.address() as AddressInfo).port}/consoles/browsed`;
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
  } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    process.stderr.write(`\n*** SKIPPED: consoles in a browser: ${(error as Error).message}\n`);
  }
}, LIMIT_MS);
afterAll(async () => { await browser?.close(); forwarder?.close(); await host?.stop(); rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

function freePort(): Promise<number> {
  return new Promise(resolve => {
    const probe = createServer().listen(0, '127.0.0.1', () => { const { port } = probe.address() as AddressInfo; probe.close(() => resolve(port)); });
  });
}

/** What the page's script leaves for whoever looks. */
interface Terminal { readonly rows: number; readonly cols: number; readonly buffer: { readonly active: { readonly type: string; readonly baseY: number; getLine(y: number): { translateToString(trim: boolean): string } | undefined } } }

const screen = (page: Page): Promise<string[]> => page.evaluate(() => {
  const { rows, buffer: { active } } = (globalThis as unknown as { xenolithTerminal: Terminal }).xenolithTerminal;
  return Array.from({ length: rows }, (_, y) => active.getLine(active.baseY + y)?.translateToString(true).trimEnd() ?? '');
});
const size = (page: Page): Promise<{ rows: number; cols: number }> => page.evaluate(() => { const { rows, cols } = (globalThis as unknown as { xenolithTerminal: Terminal }).xenolithTerminal; return { rows, cols }; });
async function shows(page: Page, wanted: (lines: readonly string[]) => boolean): Promise<string[]> {
  for (const end = Date.now() + WAIT_MS; ;) {
    const lines = await screen(page);
    if (wanted(lines)) return lines;
    if (Date.now() > end) throw new Error(`the terminal shows\n${lines.join('\n')}`);
    await page.waitForTimeout(100);
  }
}
const status = async (page: Page, wanted: RegExp): Promise<void> => { await page.waitForFunction(([source]) => new RegExp(source!).test(document.getElementById('state')!.textContent!), [wanted.source], { timeout: WAIT_MS }); };
async function opened(viewport = { width: 900, height: 600 }): Promise<Page> {
  const page = await browser!.newPage({ viewport });
  await page.goto(url);
  await status(page, /may type|alone type/);
  return page;
}

test('typing, full-screen programs, resizing, two viewers', async ctx => {
  if (!browser || !guest) { ctx.skip(); return; }
  const one = await opened();
  await one.keyboard.type('echo sum-$((6*7))\n');
  await shows(one, lines => lines.includes('sum-42'));

  const before = await size(one);
  await one.click('#size');
  await one.keyboard.type('stty size\n');
  await shows(one, lines => lines.includes(`${before.rows} ${before.cols}`));

  await one.setViewportSize({ width: 640, height: 400 });
  await one.waitForFunction(([rows]) => (globalThis as unknown as { xenolithTerminal: Terminal }).xenolithTerminal.rows < rows!, [before.rows]);
  const smaller = await size(one);
  expect(smaller.cols).toBeLessThan(before.cols);
  await one.click('#size');
  await one.keyboard.type('echo _written in vi >/tmp/note; clear; vi /tmp/note\n');
  // vi fills the window that the guest was told of: a line of text, tildes, and its status line.
  const vi = await shows(one, lines => lines[0] === '_written in vi' && lines.filter(line => line === '~').length === smaller.rows - 2);
  expect(vi.at(-1)).toMatch(/note/);
  await one.keyboard.type('x');
  await shows(one, lines => lines[0] === 'written in vi');
  for (const text of [', once', ', twice', ', thrice']) {
    await one.keyboard.type(`A${text}`);
    await shows(one, lines => lines[0]!.endsWith(text) && lines.at(-1)!.startsWith('I '));
    await one.keyboard.press('Escape');
    // busybox takes an Escape that has two more keys within 50 ms for an unknown key, on any terminal: nobody types so fast.
    await shows(one, lines => lines.at(-1)!.startsWith('- '));
  }
  await one.keyboard.type(':wq\n');
  await shows(one, lines => lines.some(line => line.endsWith('guest#')));
  await one.keyboard.type('clear; cat /tmp/note\n');
  await shows(one, lines => lines.includes('written in vi, once, twice, thrice'));

  await one.keyboard.type('top\n');
  await shows(one, lines => lines.some(line => /PID +PPID +USER/.test(line)));
  await one.keyboard.type('q');
  await one.keyboard.type('clear; echo out-of-$((1))-top\n');
  await shows(one, lines => lines.includes('out-of-1-top'));

  const two = await opened();
  await shows(two, lines => lines.includes('out-of-1-top'));
  await two.waitForFunction(([rows, cols]) => { const { rows: r, cols: c } = (globalThis as unknown as { xenolithTerminal: Terminal }).xenolithTerminal; return r === rows && c === cols; }, [smaller.rows, smaller.cols]);
  await two.keyboard.type('echo from-$((2))-two\n');
  await shows(one, lines => lines.includes('from-2-two'));
  await two.click('#take');
  await status(one, /look on/);
  await one.keyboard.type('echo not-$((3))-heard\n');
  await status(one, /take it over/);
  await two.keyboard.type('echo alone-$((4))-two\n');
  const last = await shows(one, lines => lines.includes('alone-4-two'));
  expect(last.join()).not.toContain('not-');
  await two.close();
  await status(one, /1 here; you may type/);
  await one.keyboard.type('echo free-$((5))-again\n');
  await shows(one, lines => lines.includes('free-5-again'));
}, LIMIT_MS);

test('over TCP, with TLS: the page asks for a token until one does, keeps it for the tab, and is cut off when it is revoked', async ctx => {
  if (!browser || !guest || !host) { ctx.skip(); return; }
  const { client } = host, looking = await client.createToken({ name: 'looks', scope: 'read' }), typing = await client.createToken({ name: 'types', scope: 'operate' });
  // The host's certificate is its own.
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 900, height: 600 } }), page = await context.newPage();
  const answers: (string | undefined)[] = ['xen_no', looking.token, typing.token];
  let asked = 0;
  page.on('dialog', dialog => { const answer = answers[asked++]; void (answer === undefined ? dialog.dismiss() : dialog.accept(answer)); });
  await page.goto(`https://127.0.0.1:${tlsPort}/consoles/browsed`);
  await status(page, /may type/);
  expect(asked).toBe(3);
  await page.keyboard.type('clear; echo over-$((6+1))-tls\n');
  await shows(page, lines => lines.includes('over-7-tls'));
  await page.reload();
  await status(page, /may type/);
  await shows(page, lines => lines.includes('over-7-tls'));
  expect(asked).toBe(3);
  await client.revokeToken(typing.id);
  await status(page, /not connected/);
  await page.waitForEvent('dialog', { timeout: WAIT_MS });
  const audit = (await client.audit(0, 1000)).filter(entry => entry.what.startsWith('UPGRADE ') && entry.from === '127.0.0.1');
  expect(audit.map(entry => entry.who)).toEqual(Array<string>(2).fill(`token:${typing.id} (types)`));
  expect(await page.evaluate(() => document.cookie)).toBe('');
  await context.close();
}, LIMIT_MS);
