// Disk specifications, xl-disk-configuration(5):
//   [key=value|flag,]* [target,[format,[vdev,[access]]]] [key=value|flag,]* [target=REST]
// and the deprecated [prefix:]*target,vdev[:devtype],access.
import { ConfigError } from './config-error.ts';

export const DISK_FORMATS = ['raw', 'qcow', 'qcow2', 'vhd', 'qed', 'empty'] as const;
export type DiskFormat = (typeof DISK_FORMATS)[number];

export interface DiskSpec {
  readonly target: string;
  readonly format: DiskFormat;
  readonly vdev: string;
  readonly readOnly: boolean;
  readonly cdrom: boolean;
  readonly discard: boolean;
  readonly trusted: boolean;
  readonly backendDomain?: string;
  readonly backendType?: string;
  readonly script?: string;
}

interface Draft { target?: string; format?: string; vdev?: string; access?: string; cdrom?: boolean; discard?: boolean; trusted?: boolean; backend?: string; backendtype?: string; script?: string }

const FORMAT_PREFIX = /^(raw|qcow2?|vhd):/;
const SCRIPT_PREFIX = /^(iscsi|nbd|enbd|drbd):/;
const IGNORED_PREFIX = /^(tapdisk2?|tap2?|aio|ioemu|file|phy):/;
const ACCESS: Readonly<Record<string, boolean>> = { r: true, ro: true, w: false, rw: false };
const BACKEND_TYPES = ['phy', 'tap', 'qdisk', 'standalone'];
const POSITIONAL = ['target', 'format', 'vdev', 'access'] as const;
const DEPRECATED_POSITIONAL = ['target', 'vdev', 'access'] as const;
const VDEV = /^(?:xvd[a-z]+\d*|hd[a-z]+\d*|sd[a-z]+\d*|d\d+(?:p\d+)?|(?:0x)?\d+)(?::cdrom|:disk)?$/;

/**
 * @param source file name shown in messages
 * @throws ConfigError in xl's words
 */
export function parseDiskSpec(spec: string, source: string): DiskSpec {
  const fail = (what: string, near?: string): never => {
    throw new ConfigError(`${source}: config parsing error in disk specification: ${what}${near === undefined ? '' : `: near \`${near}'`} in \`${spec}'`);
  };
  const draft: Draft = {};
  const set = (key: keyof Draft, value: string | boolean, near: string): void => {
    if (value === '') return;
    if (draft[key] !== undefined && draft[key] !== '') fail(`${key} specified more than once`, near);
    (draft as Record<string, string | boolean>)[key] = value;
  };

  let rest = spec.trimStart(), deprecated = false;
  for (let prefix; ;) {
    if ((prefix = IGNORED_PREFIX.exec(rest))) deprecated = true;
    else if ((prefix = FORMAT_PREFIX.exec(rest))) { deprecated = true; set('format', prefix[1]!, prefix[0]); }
    else if ((prefix = SCRIPT_PREFIX.exec(rest))) { deprecated = true; set('script', `block-${prefix[1]}`, prefix[0]); }
    else break;
    rest = rest.slice(prefix[0].length);
  }
  const bare = rest.split(',').map(s => s.trim());
  if (bare.length === 3 && VDEV.test(bare[1]!) && bare.every(s => !s.includes('='))) deprecated = true;
  const order = deprecated ? DEPRECATED_POSITIONAL : POSITIONAL;

  for (let position = 0; rest !== '';) {
    rest = rest.trimStart();
    if (/^target=/.test(rest)) { draft.target = rest.slice('target='.length); break; }
    const comma = rest.indexOf(',');
    const item = (comma < 0 ? rest : rest.slice(0, comma)).trimEnd();
    const near = comma < 0 ? item : `${item},`;
    rest = comma < 0 ? '' : rest.slice(comma + 1);
    const equals = item.indexOf('=');
    if (equals >= 0) { setParameter(draft, item.slice(0, equals), item.slice(equals + 1), near, set, fail); continue; }
    if (setFlag(item, near, set)) continue;
    while (position < order.length && draft[order[position]!]) position++;
    const name = order[position++];
    if (name === undefined) return fail('too many positional parameters', near);
    const [value, devtype] = name === 'vdev' ? item.split(':') : [item];
    if (devtype === 'cdrom') draft.cdrom = true;
    set(name, value!, near);
  }
  return finish(draft, fail);
}

function setParameter(draft: Draft, key: string, value: string, near: string, set: (k: keyof Draft, v: string | boolean, near: string) => void, fail: (what: string, near?: string) => never): void {
  if (key === 'format' || key === 'vdev' || key === 'access' || key === 'backend' || key === 'script') return set(key, value, near);
  if (key === 'backendtype') {
    if (!BACKEND_TYPES.includes(value)) fail('unknown value for backendtype', value);
    return set('backendtype', value, near);
  }
  if (key === 'devtype') {
    if (value !== 'cdrom' && value !== 'disk') fail('unknown value for type', value);
    if (value === 'cdrom') draft.cdrom = true;
    return;
  }
  if (key === 'specification') {
    if (value !== 'xen') fail('unknown value for specification', value);
    return;
  }
  fail('unknown parameter', near);
}

function setFlag(item: string, near: string, set: (k: keyof Draft, v: string | boolean, near: string) => void): boolean {
  switch (item) {
    case 'cdrom': set('cdrom', true, near); return true;
    case 'discard': case 'no-discard': set('discard', item === 'discard', near); return true;
    case 'trusted': case 'untrusted': set('trusted', item === 'trusted', near); return true;
    case 'direct-io-safe': return true;
    default: return false;
  }
}

function finish(draft: Draft, fail: (what: string, near?: string) => never): DiskSpec {
  const format = (draft.format || 'raw') as DiskFormat;
  if (!DISK_FORMATS.includes(format)) fail('unknown value for format', format);
  const access = draft.access || (draft.cdrom ? 'r' : 'rw');
  const readOnly = ACCESS[access];
  if (readOnly === undefined) fail('unknown value for access', access);
  if (!draft.vdev) return fail('no vdev specified');
  if (!draft.target && !draft.cdrom) return fail('no target specified');
  return {
    target: draft.target ?? '', format: draft.target ? format : 'empty', vdev: draft.vdev, readOnly: readOnly ?? false,
    cdrom: draft.cdrom ?? false, discard: draft.discard ?? true, trusted: draft.trusted ?? true,
    ...(draft.backend ? { backendDomain: draft.backend } : {}), ...(draft.backendtype ? { backendType: draft.backendtype } : {}),
    ...(draft.script ? { script: draft.script } : {}),
  };
}
