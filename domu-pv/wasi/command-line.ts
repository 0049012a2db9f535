// The domain's command line: what the kernel is told, the program's environment, and its arguments.
//
//   root=/dev/xvda mount=/data:xvdb missing-imports=trap NAME=value ... -- argument 'with space' ...
//
// Without "--" every word that is not one of the kernel's own three is an argument. missing-imports=trap: a program may
// import functions that are not there (bindings to a browser, say); it ends where it calls one.
export interface CommandLine {
  readonly root: string | undefined;
  readonly mounts: readonly { readonly name: string; readonly device: string }[];
  readonly trapMissing: boolean;
  readonly environment: readonly string[];
  readonly arguments: readonly string[];
}

/** Words, with '...' and "..." as a shell has them. */
export function words(text: string): string[] {
  const found: string[] = [];
  for (const match of text.matchAll(/(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+/g)) {
    found.push(match[0].replace(/'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)/g, (_, single?: string, double?: string, escaped?: string) => single ?? double?.replace(/\\(.)/g, '$1') ?? escaped ?? ''));
  }
  return found;
}
const device = (name: string): string => name.replace(/^\/dev\//, '');

export function parseCommandLine(text: string): CommandLine {
  const all = words(text), end = all.indexOf('--'), before = end < 0 ? all : all.slice(0, end), args = end < 0 ? [] : all.slice(end + 1);
  const mounts: { name: string; device: string }[] = [], environment: string[] = [];
  let root: string | undefined, trapMissing = false;
  for (const word of before) {
    const m = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(word), mount = /^mount=\/([^/:]+):(.+)$/.exec(word);
    if (m?.[1] === 'root') root = device(m[2]!);
    else if (word === 'missing-imports=trap') trapMissing = true;
    else if (mount) mounts.push({ name: mount[1]!, device: device(mount[2]!) });
    else if (end < 0) args.push(word);
    else if (m) environment.push(word);
  }
  return { root, mounts, trapMissing, environment, arguments: args };
}
