// Which queue a frame goes to, and the hash that tells the guest why: as the frontend set it up over the control
// ring, or a choice of the backend's own that keeps a flow in one queue.
import {
  XEN_NETIF_CTRL_HASH_ALGORITHM_NONE, XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ, XEN_NETIF_CTRL_HASH_TYPE_IPV4 as IPV4,
  XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP as IPV4_TCP, XEN_NETIF_CTRL_HASH_TYPE_IPV6 as IPV6, XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP as IPV6_TCP,
} from '../../hypervisor/public/io/netif.ts';
import { findL4 } from '../switch/offload.ts';
import { ETHERNET_HEADER_BYTES } from '../switch/port.ts';

export const HASH_TYPES = IPV4 | IPV4_TCP | IPV6 | IPV6_TCP;
export const MAX_KEY_BYTES = 40;
export const MAX_MAPPING_ENTRIES = 128;

export interface FrameHash { /** Number of the XEN_NETIF_CTRL_HASH_TYPE_* bit. */ readonly type: number; readonly algorithm: number; readonly value: number }

/** Toeplitz: the key's bits, from the one under the data's bit on, are added wherever that bit is set. */
export function toeplitz(key: Uint8Array, data: Uint8Array): number {
  let hash = 0, window = 0;
  const keyByte = (i: number): number => key[i] ?? 0;
  for (let i = 0; i < 4; i++) window = window << 8 | keyByte(i);
  for (let i = 0; i < data.length; i++) {
    const byte = data[i]!, next = keyByte(i + 4);
    for (let bit = 7; bit >= 0; bit--) {
      if (byte >> bit & 1) hash ^= window;
      window = window << 1 | (next >> bit & 1);
    }
  }
  return hash >>> 0;
}

export class Steering {
  algorithm: number = XEN_NETIF_CTRL_HASH_ALGORITHM_NONE;
  types = 0;
  key: Uint8Array = new Uint8Array(0);
  /** Queue by hash; empty: the hash modulo the number of queues. */
  mapping: Uint32Array = new Uint32Array(0);
  readonly queueCount: number;
  constructor(queueCount: number) { this.queueCount = queueCount; }

  /** The hash the frontend asked for, if the frame is of a type it asked for. */
  hash(bytes: Uint8Array): FrameHash | undefined {
    if (this.algorithm !== XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ || this.types === 0) return undefined;
    const input = hashInput(bytes, this.types);
    return input && { type: 31 - Math.clz32(input.type), algorithm: this.algorithm, value: toeplitz(this.key, input.data) };
  }

  queueOf(bytes: Uint8Array, hash: FrameHash | undefined): number {
    if (this.queueCount === 1) return 0;
    if (hash) return this.mapping.length > 0 ? this.mapping[hash.value % this.mapping.length]! : hash.value % this.queueCount;
    const input = hashInput(bytes, HASH_TYPES);
    let mix = 0;
    for (const byte of input?.data ?? bytes.subarray(0, ETHERNET_HEADER_BYTES)) mix = Math.imul(mix ^ byte, 0x01000193);
    return ((mix ^ mix >>> 15) >>> 0) % this.queueCount;
  }
}

/** Addresses, and ports where the type has them: of the richest type wanted that fits. */
function hashInput(b: Uint8Array, types: number): { type: number; data: Uint8Array } | undefined {
  const version = b[12] === 0x08 && b[13] === 0 ? 4 : b[12] === 0x86 && b[13] === 0xdd ? 6 : 0, ip = ETHERNET_HEADER_BYTES;
  const [plain, withPorts, from, count] = version === 4 ? [IPV4, IPV4_TCP, ip + 12, 8] : [IPV6, IPV6_TCP, ip + 8, 32];
  if (version === 0 || b.length < from + count) return undefined;
  const l4 = types & withPorts ? findL4(b) : undefined;
  if (l4?.protocol === 6) {
    const data = new Uint8Array(count + 4);
    data.set(b.subarray(from, from + count));
    data.set(b.subarray(l4.at, l4.at + 4), count);
    return { type: withPorts, data };
  }
  return types & plain ? { type: plain, data: b.subarray(from, from + count) } : undefined;
}
