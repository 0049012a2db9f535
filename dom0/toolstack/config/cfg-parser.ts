// Parser of xl.cfg(5) files: text to settings, each with the line that set it.
import { ConfigError } from './config-error.ts';
import { tokenize, type Token, type TokenKind } from './cfg-lexer.ts';

export type CfgValue = string | readonly CfgValue[];

export interface CfgSetting {
  readonly name: string;
  readonly value: CfgValue;
  readonly line: number;
}

export interface CfgFile {
  /** Shown in messages: the path as given on the command line. */
  readonly source: string;
  readonly settings: ReadonlyMap<string, CfgSetting>;
}

const MAX_DEPTH = 16;

const named = (kind: TokenKind): string =>
  kind.length <= 2 ? `'${kind}'` : kind === 'newline' ? 'NEWLINE' : kind;

/**
 * @param source name shown in messages
 * @throws ConfigError "FILE:LINE: config parsing error near `TEXT': ..."
 */
export function parseCfg(text: string, source: string): CfgFile {
  const tokens = tokenize(text);
  const settings = new Map<string, CfgSetting>();
  let at = 0;
  const peek = (): Token => tokens[Math.min(at, tokens.length - 1)]!;
  const next = (): Token => { const token = peek(); at++; return token; };

  const fail = (token: Token, expected: readonly string[]): never => {
    const what = token.kind === 'error' ? 'lexical error'
      : `syntax error, unexpected ${named(token.kind)}, expecting ${expected.join(' or ')}`;
    const near = token.text === '\n' ? 'at end of line' : token.text === '' ? 'at end of file' : `near \`${token.text}'`;
    const lines = [`${source}:${token.line}: config parsing error ${near}: ${what}`];
    if (token.python) lines.push(
      'warning: Config file looks like it contains Python code.',
      'warning:  Arbitrary Python is no longer supported.',
      'warning:  See https://wiki.xen.org/wiki/PythonInXlConfig');
    lines.push('Failed to parse config: Invalid argument');
    throw new ConfigError(lines.join('\n'));
  };
  const skipNewlines = (): void => { while (peek().kind === 'newline') at++; };

  const value = (depth: number): CfgValue => {
    const token = next();
    if (token.kind === 'STRING' || token.kind === 'NUMBER') return token.value;
    if (token.kind !== '[' || depth >= MAX_DEPTH) return fail(token, ['STRING', 'NUMBER', "'['"]);
    const items: CfgValue[] = [];
    for (skipNewlines(); peek().kind !== ']'; skipNewlines()) {
      items.push(value(depth + 1));
      skipNewlines();
      if (peek().kind === ',') { at++; continue; }
      if (peek().kind !== ']') fail(peek(), ["','", "']'"]);
    }
    at++;
    return items;
  };

  for (;;) {
    while (peek().kind === 'newline' || peek().kind === ';') at++;
    if (peek().kind === 'end of file') return { source, settings };
    const name = next();
    if (name.kind !== 'IDENT') fail(name, ['IDENT', 'NEWLINE', 'end of file']);
    const operator = next();
    if (operator.kind !== '=' && operator.kind !== '+=') fail(operator, ["'='", "'+='"]);
    const right = value(0);
    const before = settings.get(name.value)?.value;
    settings.set(name.value, { name: name.value, line: name.line, value: operator.kind === '+=' ? append(before, right) : right });
    const end = peek();
    if (end.kind !== 'newline' && end.kind !== ';' && end.kind !== 'end of file') fail(end, ['NEWLINE', "';'"]);
  }
}

function append(before: CfgValue | undefined, right: CfgValue): CfgValue {
  if (before === undefined) return right;
  if (typeof before === 'string' && typeof right === 'string') return before + right;
  return [...(typeof before === 'string' ? [before] : before), ...(typeof right === 'string' ? [right] : right)];
}
