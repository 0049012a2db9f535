// gdb and `xenolith gdb`, for tests that let one debug what the other serves.
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** `xenolith gdb` in the background, ready to be connected to. */
export async function serveGdb(env: NodeJS.ProcessEnv, domain: string, ...args: string[]): Promise<{ address: string; said: () => string; end: () => Promise<number | null> }> {
  const child = spawn(process.execPath, [join(root, 'tools/host/index.ts'), 'gdb', domain, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const ended = new Promise<number | null>(resolve => child.on('exit', resolve));
  child.stderr!.on('data', data => { said += String(data); });
  const address = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.stdout!.on('data', data => { text += String(data); const match = /^target remote (.*)\n/.exec(text); if (match) resolve(match[1]!); });
    void ended.then(code => reject(new Error(`xenolith gdb ended (${code}): ${said}`)));
  });
  return { address, said: () => said, end: () => { child.kill('SIGINT'); return ended; } };
}

export const hasGdb = spawnSync('gdb', ['--version']).status === 0;
/** Lines that gdb prints for these commands. */
export const runGdb = (address: string, commands: readonly string[]): string =>
  spawnSync('gdb', ['-nx', '-batch', '-ex', 'set architecture i386:x86-64', '-ex', `target remote ${address}`, ...commands.flatMap(c => ['-ex', c])], { encoding: 'utf8', timeout: 40_000 }).stdout;
