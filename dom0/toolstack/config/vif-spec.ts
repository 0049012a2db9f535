// Virtual interface specifications, xl-network-configuration(5): KEY=VALUE[,KEY=VALUE]*; empty is a default NIC.
import { ConfigError } from './config-error.ts';

export interface VifSpec {
  /** Six octets, lower case; undefined: the toolstack draws one from 00:16:3e. */
  readonly mac?: string;
  readonly bridge?: string;
  readonly gatewaydev?: string;
  readonly vifname?: string;
  readonly script?: string;
  readonly ip?: string;
  readonly backend?: string;
  readonly devid?: number;
  readonly mtu?: number;
  readonly rate?: VifRate;
  readonly trusted: boolean;
  readonly vlan?: string;
  readonly antispoof?: boolean;
}
export interface VifRate { readonly bytesPerInterval: number; readonly intervalUsec: number }

const MAC = /^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i;
const RATE = /^([0-9]+)([GMK]?)([Bb])\/s(?:@([0-9]+)([mu]?)s)?$/;
const SCALE: Readonly<Record<string, number>> = { '': 1, K: 1000, M: 1000_000, G: 1000_000_000 };

/** Bytes per interval of a rate such as 10MB/s@50ms. @returns undefined if it is none. */
export function parseRate(text: string): VifRate | undefined {
  const m = RATE.exec(text);
  if (!m) return undefined;
  const bytesPerSec = Number(m[1]) * SCALE[m[2]!]! / (m[3] === 'b' ? 8 : 1);
  const intervalUsec = m[4] === undefined ? 50_000 : Number(m[4]) * (m[5] === 'm' ? 1000 : m[5] === 'u' ? 1 : 1_000_000);
  if (bytesPerSec < 1 || intervalUsec < 1 || intervalUsec > 0xffff_ffff) return undefined;
  return { bytesPerInterval: Math.ceil(bytesPerSec * intervalUsec / 1_000_000), intervalUsec };
}

/** @returns undefined if it is no list of VLANs */
export function parseVlan(text: string): { untagged?: number; tagged?: number[] } | undefined {
  const tagged = new Set<number>();
  let untagged: number | undefined;
  for (const item of text.split('/')) {
    const m = /^(\d{1,4})(?:-(\d{1,4}))?(p?)$/.exec(item);
    const first = Number(m?.[1]), last = Number(m?.[2] ?? m?.[1]);
    if (!m || first < 1 || last > 4094 || last < first) return undefined;
    // A single number without a mark is what most people mean by an interface's VLAN.
    if (m[3] || (text === m[1])) { if (untagged !== undefined || first !== last) return undefined; untagged = first; continue; }
    for (let vlan = first; vlan <= last; vlan++) tagged.add(vlan);
  }
  return { ...(untagged === undefined ? {} : { untagged }), tagged: [...tagged] };
}

/** @throws ConfigError in xl's words */
export function parseVifSpec(spec: string, source: string): VifSpec {
  const out: Record<string, unknown> = { trusted: true };
  for (const raw of spec.split(',')) {
    const item = raw.trim();
    if (item === '') continue;
    const equals = item.indexOf('=');
    const key = equals < 0 ? item : item.slice(0, equals), value = equals < 0 ? '' : item.slice(equals + 1);
    switch (key) {
      case 'mac':
        if (!MAC.test(value)) throw new ConfigError("Invalid parameter `mac'.");
        out['mac'] = value.toLowerCase().split(':').map(o => o.padStart(2, '0')).join(':');
        break;
      case 'bridge': case 'gatewaydev': case 'vifname': case 'script': case 'ip': case 'backend': out[key] = value; break;
      case 'devid': case 'mtu':
        if (!/^\d+$/.test(value)) throw new ConfigError(`Invalid parameter \`${key}'.`);
        out[key] = Number(value);
        break;
      case 'rate': {
        const rate = parseRate(value);
        if (!rate) throw new ConfigError(`${source}: config parsing error in vif: invalid rate in \`${value}'`);
        out['rate'] = rate;
        break;
      }
      case 'vlan':
        if (!parseVlan(value)) throw new ConfigError(`Invalid parameter \`vlan'.`);
        out['vlan'] = value;
        break;
      case 'antispoof': out['antispoof'] = value !== '0'; break;
      case 'trusted': out['trusted'] = value !== '0'; break;
      case 'untrusted': out['trusted'] = false; break;
      // Device models and accelerators of HVM guests, and netfront hints.
      case 'type': case 'model': case 'accel': case 'forwarddev': case 'colo_filter': break;
      default: throw new ConfigError(`unrecognized argument \`${item}'`);
    }
  }
  return out as unknown as VifSpec;
}
