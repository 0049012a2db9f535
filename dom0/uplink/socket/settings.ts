// `socket:/run/passt.sock`, `socket:listen=/run/x.sock`, `socket:127.0.0.1:1234`, `socket:listen=127.0.0.1:1234`.
import { UplinkError } from '../uplink-error.ts';

export type Place = { readonly path: string } | { readonly host: string; readonly port: number };
/** @property listen waits for the other side there, instead of calling */
export interface SocketSettings { readonly place: Place; readonly listen: boolean }

/** @throws UplinkError */
export function parseSocketSettings(text: string): SocketSettings {
  const listen = text.startsWith('listen='), where = text.replace(/^(listen|connect)=/, '');
  if (where.startsWith('/')) return { place: { path: where }, listen };
  const match = /^\[?([^\]]*?)\]?:(\d+)$/.exec(where), port = Number(match?.[2]);
  if (!match || port > 65_535) throw new UplinkError(`uplink socket: "${text}" is neither an absolute path nor HOST:PORT`);
  return { place: { host: match[1] || '127.0.0.1', port }, listen };
}
