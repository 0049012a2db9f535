// Every curl line of the README, as it stands there, against a host with a small guest: each has to be answered with success.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BLOCK, smallKernel } from './small-kernel.ts';

const root = join(import.meta.dirname, '../..'), README = readFileSync(join(root, 'README.md'), 'utf8');
const missing = ['curl', 'jq'].filter(tool => spawnSync(tool, ['--version']).status !== 0);
if (missing.length > 0) console.warn(`SKIPPED: curl lines of the README: ${missing.join(' and ')} not installed`);
/** A line that goes on for ever is given so long, in seconds; so is one of the rest. */
const FOLLOW_SEC = 2, LIMIT_SEC = 30, TIMEOUT_STATUS = 124;
const lines = README.slice(README.indexOf('\n## HTTP\n'), README.indexOf('\n## Looking into')).split('\n').filter(line => line.startsWith('curl '));

let dir: string, port: number, host: ChildProcess;
const env = (): NodeJS.ProcessEnv => ({ ...process.env, XENOLITH_RUNDIR: join(dir, 'run') });
const node = (tool: string, ...args: string[]): ReturnType<typeof spawnSync> => spawnSync(process.execPath, [join(root, `tools/${tool}/index.ts`), ...args], { env: env(), cwd: dir, encoding: 'utf8' });
/** With the README's own variables before it. */
function shell(line: string): { readonly status: number | null; readonly text: string } {
  const settings = README.split('\n').filter(text => /^[SC]=/.test(text)).join('\n');
  const { status, stdout, stderr } = spawnSync('bash', ['-c', `${settings}\nT=${token}\n${line}`], { env: env(), cwd: dir, encoding: 'utf8' });
  return { status, text: stdout + stderr };
}
let token = '';

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'readme-'));
  writeFileSync(join(dir, 'web.elf'), smallKernel(BLOCK));
  writeFileSync(join(dir, 'data.img'), '');
  truncateSync(join(dir, 'data.img'), 1 << 20);
  writeFileSync(join(dir, 'web.cfg'), `name = "web"\nkernel = "${join(dir, 'web.elf')}"\nmemory = 512\n`);
  const probe = createServer();
  port = await new Promise(resolve => { probe.listen(0, '127.0.0.1', () => { const { port: free } = probe.address() as AddressInfo; probe.close(() => resolve(free)); }); });
  host = spawn(process.execPath, [join(root, 'tools/host/index.ts'), 'host', '--bridge', 'xenbr0=none', '--listen', `127.0.0.1:${port}`], { env: env(), stdio: ['ignore', 'ignore', 'pipe'] });
  await new Promise<void>((resolve, reject) => {
    let said = '';
    host.stderr!.on('data', data => { said += String(data); if (said.includes('host ready')) resolve(); });
    host.on('exit', code => reject(new Error(`the host ended (${code}): ${said}`)));
  });
  expect(node('xl', 'create', 'web.cfg').status).toBe(0);
  token = String(node('host', 'token', 'create', 'ci', '--scope', 'operate').stdout).trim();
});
afterAll(async () => {
  const ended = new Promise(resolve => host.once('exit', resolve));
  host.kill('SIGTERM'); host.kill('SIGTERM');
  await ended;
  rmSync(dir, { recursive: true });
});

test.skipIf(missing.length > 0 && !process.env['CI'])('each is answered with success', async () => {
  expect(lines.length).toBeGreaterThan(15);
  let managed = false, operation = '';
  for (const line of lines) {
    // The second half of the section begins with `xl create --restart`, of a domain that is not there yet.
    if (line.includes('/v1/definitions') && !managed) {
      managed = true;
      expect(node('xl', 'destroy', 'web').status).toBe(0);
      expect(node('xl', 'create', '--restart', 'on-failure', '--autostart', 'web.cfg').status).toBe(0);
    }
    // One guest, and as many names as the README gives it.
    if (line.includes('jq -Rs')) expect(shell("curl -sS -f --unix-socket $S -X DELETE http://localhost/v1/domains/site; sed -i '1s/web/other/' web.cfg").status).toBe(0);
    if (line.includes('"shutdown"')) expect(node('xl', 'create', 'web.cfg', 'name=web').status).toBe(0);
    const given = line.replaceAll('/path/to/data.img', join(dir, 'data.img')).replaceAll('localhost:8443', `localhost:${port}`).replace('operations/ID', `operations/${operation}`).replace(/ +# .*$/, '');
    const endless = / -N | wait=/.test(given), { status, text } = shell(given.replace(/^curl /, `timeout ${endless ? FOLLOW_SEC : LIMIT_SEC} curl -sS --fail-with-body `));
    expect([endless ? TIMEOUT_STATUS : 0], `${line}\n${text.slice(0, 1000)}`).toContain(status);
    if (line.includes('respond-async')) operation = (JSON.parse(text) as { id: string }).id;
    if (operation !== '') expect(shell(`curl -sS --unix-socket $S -X POST http://localhost/v1/operations/${operation}/cancel`).status).toBe(0);
  }
}, 120_000);
