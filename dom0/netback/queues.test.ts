// Several queues, and the event channels they share or do not: what netfront sets up with more than one vCPU.
import { expect, test } from 'vitest';
import {
  NETIF_RSP_OKAY, netif_rx_request as rxRequest, netif_rx_response as rxResponse, NETRXF_extra_info, netif_tx_request as txRequest, netif_tx_response as txResponse,
  xen_netif_ctrl_request as ctrlRequest, XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ as TOEPLITZ, XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP, XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM,
  XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE,
} from '../../hypervisor/public/io/netif.ts';
import { newPage, settle } from '../bus/fakes.ts';
import { FrontRing } from '../bus/ring.ts';
import { CTRL_PORT, NetWorld, tcpFrame } from './fake-netfront.ts';
import { toeplitz } from './hash.ts';

const DOM = 2, KEY = Uint8Array.from({ length: 40 }, (_, i) => 3 * i + 1), BUFFER_COUNT = 16;
const CTRL_RING_BYTES = ctrlRequest.bytes;

/** One queue's rings, with buffers posted. */
class Queue {
  readonly keys: Record<string, string>;
  readonly txPort: number;
  readonly rxPort: number;
  readonly #world: NetWorld;
  readonly #tx: FrontRing;
  readonly #rx: FrontRing;
  readonly #firstRef: number;

  constructor(world: NetWorld, index: number, split: boolean, prefix: string) {
    this.#world = world;
    const ref = this.#firstRef = 5000 + index * 100;
    this.txPort = 20 + index * 2;
    this.rxPort = split ? this.txPort + 1 : this.txPort;
    this.#tx = new FrontRing([world.hypervisor.grant(DOM, ref)], txRequest.bytes);
    this.#rx = new FrontRing([world.hypervisor.grant(DOM, ref + 1)], rxRequest.bytes);
    const ports = split ? { 'event-channel-tx': this.txPort, 'event-channel-rx': this.rxPort } : { 'event-channel': this.txPort };
    this.keys = Object.fromEntries(Object.entries({ 'tx-ring-ref': ref, 'rx-ring-ref': ref + 1, ...ports }).map(([key, value]) => [`${prefix}${key}`, String(value)]));
    for (let i = 0; i < BUFFER_COUNT; i++) {
      world.hypervisor.grant(DOM, ref + 10 + i, newPage());
      const entry = new DataView(new ArrayBuffer(rxRequest.bytes));
      entry.setUint16(rxRequest.id, i, true);
      entry.setUint32(rxRequest.gref, ref + 10 + i, true);
      this.#rx.request(new Uint8Array(entry.buffer));
    }
    this.#rx.push();
  }

  /** @returns status of the response */
  async send(frame: Uint8Array): Promise<number | undefined> {
    const page = this.#world.hypervisor.grant(DOM, this.#firstRef + 50), entry = new DataView(new ArrayBuffer(txRequest.bytes));
    page.set(frame);
    entry.setUint32(txRequest.gref, this.#firstRef + 50, true);
    entry.setUint16(txRequest.size, frame.length, true);
    this.#tx.request(new Uint8Array(entry.buffer));
    this.#tx.push();
    this.#world.hypervisor.fire(DOM, this.txPort);
    await settle();
    const slot = this.#tx.take();
    return slot && new DataView(slot.buffer).getInt16(txResponse.status, true);
  }
  /** Sizes of frames that arrived; what tells a hash is not a frame. */
  received(): number[] {
    const sizes: number[] = [];
    for (let slot = this.#rx.take(); slot; slot = this.#rx.take()) {
      const v = new DataView(slot.buffer);
      sizes.push(v.getInt16(rxResponse.status, true));
      if (v.getUint16(rxResponse.flags, true) & NETRXF_extra_info) this.#rx.take();
    }
    this.#rx.finalCheck();
    return sizes;
  }
}

async function guest(count: number, split: boolean, more: Readonly<Record<string, string>> = {}) {
  const world = new NetWorld(), front = await world.guest(DOM, {}, { state: '' });
  const queues = Array.from({ length: count }, (_, i) => new Queue(world, i, split, count === 1 ? '' : `queue-${i}/`));
  await front.setKeys({ ...Object.assign({}, ...queues.map(queue => queue.keys)) as Record<string, string>, ...count > 1 ? { 'multi-queue-num-queues': String(count) } : {}, 'request-rx-copy': '1', 'feature-sg': '1', ...more, state: '4' });
  const got: Uint8Array[] = [], port = world.bridges.find('xenbr0')!.attach({ name: 'other', deliver: frame => { got.push(frame.bytes.slice()); } });
  return { world, front, queues, got, port };
}
const flow = (n: number): Uint8Array => { const frame = tcpFrame(1, DOM, new Uint8Array(10 + n)); frame[34] = n; return frame; };
const sizeOf = (n: number): number => flow(n).length;

test.each([[1, true], [1, false], [4, true], [4, false]])('%i queues, split event channels: %s: each sends, receives, and is told on its own channel; nothing stays', async (count, split) => {
  const { world, front, queues, got, port } = await guest(count, split), { hypervisor } = world;
  expect([front.backKey('state'), hypervisor.mappedCount, hypervisor.boundCount]).toEqual(['4', 2 * count, count * (split ? 2 : 1)]);
  for (const queue of queues) expect(await queue.send(tcpFrame(DOM, 1, new Uint8Array(30)))).toBe(NETIF_RSP_OKAY);
  expect(got.length).toBe(count);
  for (let n = 0; n < 8; n++) for (let times = 0; times < 2; times++) port.send({ bytes: flow(n), checksum: 'blank' });
  await settle();
  const arrived = queues.map(queue => queue.received());
  expect(arrived.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 8 }, (_, n) => [sizeOf(n), sizeOf(n)]).flat());
  // A flow keeps to its queue, and not all to the same.
  for (const sizes of arrived) for (const size of sizes) expect(sizes.filter(s => s === size).length).toBe(2);
  if (count > 1) expect(arrived.filter(sizes => sizes.length > 0).length).toBeGreaterThan(1);
  for (const [i, queue] of queues.entries()) if (arrived[i]!.length > 0) expect(hypervisor.sentTo(DOM, queue.rxPort)).toBeGreaterThan(1);
  await front.setKeys({ state: '6' });
  expect([hypervisor.mappedCount, hypervisor.boundCount]).toEqual([0, 0]);
});

test('hashed over the control ring, frames come to the queues that the mapping names', async () => {
  const { world, front, port } = await guest(3, true);
  await front.setKeys({ state: '6' });
  const ring = front.control(CTRL_RING_BYTES);
  await front.setKeys({ state: '1' });
  const queues = Array.from({ length: 3 }, (_, i) => new Queue(world, i, true, `queue-${i}/`));
  await front.setKeys({ ...front.controlKeys, state: '4' });
  const ask = (type: number, ...data: number[]): number => {
    const entry = new DataView(new ArrayBuffer(CTRL_RING_BYTES));
    entry.setUint16(ctrlRequest.type, type, true);
    data.forEach((d, i) => entry.setUint32(ctrlRequest.data + 4 * i, d, true));
    ring.request(new Uint8Array(entry.buffer));
    ring.push();
    world.hypervisor.fire(DOM, CTRL_PORT);
    return new DataView(ring.take()!.buffer).getUint32(4, true);
  };
  const mapping = [2, 2, 0, 1, 0, 2, 1], page = (ref: number, bytes: Uint8Array): number => { world.hypervisor.grant(DOM, ref).set(bytes); return ref; };
  expect([
    ask(XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, TOEPLITZ), ask(XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP), ask(XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, page(9000, KEY), 40),
    ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, mapping.length),
    // In two parts, and one that names a queue there is not.
    ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, page(9001, new Uint8Array(Uint32Array.from(mapping.slice(0, 3)).buffer)), 3, 0),
    ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, page(9001, new Uint8Array(Uint32Array.from(mapping.slice(3)).buffer)), 4, 3),
    ask(XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, page(9001, new Uint8Array(Uint32Array.of(3).buffer)), 1, 0),
  ]).toEqual([0, 0, 0, 0, 0, 0, 2]);
  const expected: number[][] = [[], [], []];
  for (let n = 0; n < 12; n++) {
    const frame = flow(n), hash = toeplitz(KEY, Uint8Array.of(...frame.subarray(26, 34), ...frame.subarray(34, 38)));
    expected[mapping[hash % mapping.length]!]!.push(frame.length);
    port.send({ bytes: frame, checksum: 'blank' });
  }
  await settle();
  expect(queues.map(queue => queue.received())).toEqual(expected);
  expect(expected.every(sizes => sizes.length > 0)).toBe(true);
});

test('a queue whose keys are missing, out of several: the others are let go', async () => {
  const { world, front } = await guest(2, true, { 'queue-1/rx-ring-ref': 'nonsense' });
  expect([front.backKey('state'), world.hypervisor.mappedCount, world.hypervisor.boundCount]).toEqual(['5', 0, 0]);
});
