// Ways out of a bridge, by the text that names them: `user`, `user:hostfwd=tcp::2222-:22`, `socket:/run/x`, `none`.
import { SocketUplink } from './socket/index.ts';
import { parseSocketSettings } from './socket/settings.ts';
import { TapUplink } from './tap/index.ts';
import type { Uplink } from './uplink.ts';
import { UplinkError } from './uplink-error.ts';
import { UserUplink, type Bridge } from './user/index.ts';
import { parseUserSettings } from './user/settings.ts';

export { UplinkError } from './uplink-error.ts';
export type { LeaseView, Uplink } from './uplink.ts';
export type { Bridge } from './user/index.ts';

/** One kind of uplink: checks its options, then opens. */
interface UplinkKind { readonly check: (options: string) => (bridge: Bridge, log: (line: string) => void) => Promise<Uplink | undefined> }

const KINDS: Readonly<Record<string, UplinkKind>> = {
  none: { check: () => async () => undefined },
  user: { check: options => { const settings = parseUserSettings(options); return (bridge, log) => UserUplink.open(bridge, settings, log); } },
  socket: { check: options => { const settings = parseSocketSettings(options); return (bridge, log) => SocketUplink.open(bridge, settings, log); } },
  tap: { check: options => (bridge, log) => TapUplink.open(bridge, options, log) },
};

/** @param text kind, then options behind a colon @returns opens it @throws UplinkError that says what is wrong with the text */
export function uplinkOf(text: string): (bridge: Bridge, log?: (line: string) => void) => Promise<Uplink | undefined> {
  const colon = text.indexOf(':'), kind = KINDS[colon < 0 ? text : text.slice(0, colon)];
  if (!kind) throw new UplinkError(`there is no uplink "${text}": it is one of ${Object.keys(KINDS).join(', ')}`);
  const open = kind.check(colon < 0 ? '' : text.slice(colon + 1));
  return (bridge, log = () => {}) => open(bridge, log);
}
