// Tokens of an xl.cfg(5) file. The language is a small relative of Python: IDENT = VALUE, one per line or
// separated by `;`, where VALUE is a string, a number or a (nested) list; `#` starts a comment.

export type TokenKind = 'IDENT' | 'STRING' | 'NUMBER' | '=' | '+=' | '[' | ']' | ',' | ';' | 'newline' | 'end of file' | 'error';

export interface Token {
  readonly kind: TokenKind;
  /** As written, for messages. */
  readonly text: string;
  /** Decoded text of a STRING, digits of a NUMBER, name of an IDENT. */
  readonly value: string;
  readonly line: number;
  /** Set on an error token that looks like a Python expression. */
  readonly python?: boolean;
}

const SPACE = /[ \t\r\f\v]+/y;
const COMMENT = /#[^\n]*/y;
const IDENT = /[a-zA-Z_][a-zA-Z0-9_]*/y;
const NUMBER = /[0-9][0-9a-fA-FxX]*/y;
const GRAPH = /[^\s\x00-\x20]+/y;
const SINGLE = /'((?:\\[^\n]|[^\\\n'])*)'/y;
const DOUBLE = /"((?:\\[^\n]|[^\\\n"])*)"/y;
const PUNCTUATION = new Map<string, TokenKind>([['=', '='], ['[', '['], [']', ']'], [',', ','], [';', ';']]);
const ESCAPES: Readonly<Record<string, string>> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

const unescape = (s: string): string =>
  s.replace(/\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)/g, (_, e: string) => {
    if (e.length === 3 && e.startsWith('x')) return String.fromCharCode(parseInt(e.slice(1), 16));
    if (/^[0-7]/.test(e)) return String.fromCharCode(parseInt(e, 8) & 0xff);
    return ESCAPES[e] ?? e;
  });

/** Splits a file into tokens; the last is `end of file`, or the first `error`. */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0, line = 1;
  const match = (re: RegExp): RegExpExecArray | null => { re.lastIndex = at; return re.exec(text); };
  const push = (kind: TokenKind, source: string, value = source): void => {
    tokens.push({ kind, text: source, value, line });
    at += source.length;
  };
  while (at < text.length) {
    const ch = text[at]!;
    const blank = match(SPACE) ?? match(COMMENT);
    if (blank) { at += blank[0].length; continue; }
    if (ch === '\n') { push('newline', '\n'); line++; continue; }
    if (ch === "'" || ch === '"') {
      const string = match(ch === "'" ? SINGLE : DOUBLE);
      if (string) { push('STRING', string[0], unescape(string[1]!)); continue; }
      const rest = /[^\n]*/y; rest.lastIndex = at;
      tokens.push({ kind: 'error', text: rest.exec(text)![0].trimEnd(), value: '', line });
      return tokens;
    }
    const ident = match(IDENT), number = match(NUMBER);
    if (ident) { push('IDENT', ident[0]); continue; }
    if (number) { push('NUMBER', number[0]); continue; }
    if (text.startsWith('+=', at)) { push('+=', '+='); continue; }
    const punctuation = PUNCTUATION.get(ch);
    if (punctuation) { push(punctuation, ch); continue; }
    tokens.push({ kind: 'error', text: match(GRAPH)?.[0] ?? ch, value: '', line, python: true });
    return tokens;
  }
  tokens.push({ kind: 'end of file', text: '', value: '', line });
  return tokens;
}
