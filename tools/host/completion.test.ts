import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const script = execFileSync(process.execPath, [join(import.meta.dirname, 'index.ts'), 'bash-completion'], { encoding: 'utf8' });

/** What bash offers for the last of these words. */
function offered(...words: string[]): string[] {
  const ask = `${script}\nCOMP_WORDS=(${words.map(word => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _xenolith; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['--norc', '-c', ask], { encoding: 'utf8' }).trim().split('\n');
}

test('bash completes commands, verbs and options from what --help prints', () => {
  expect(offered('xenolith', 'de')).toEqual(['definition']);
  expect(offered('xenolith', '')).toEqual(expect.arrayContaining(['start', 'host', 'capture', 'token', 'audit', 'bash-completion', 'help']));
  expect(offered('xenolith', 'definition', 'un')).toEqual(['undefine']);
  expect(offered('xenolith', 'token', '')).toEqual(['create', 'list', 'revoke']);
  expect(offered('xenolith', 'token', 'create', 'ci', '--sc')).toEqual(['--scope']);
  expect(offered('xenolith', 'host', '--').sort()).toEqual(['--bridge', '--help', '--jit', '--listen', '--root', '--tls-cert', '--tls-key']);
  expect(offered('xenolith', 'start', '--ex')).toEqual(['--exec']);
  expect(offered('xenolith', 'perf', 'x', '--fl')).toEqual(['--flame']);
});
