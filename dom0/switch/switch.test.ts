import { describe, expect, test } from 'vitest';
import { Bridges } from './bridges.ts';
import { macNumber } from './mac.ts';
import type { Attachment, Frame, PortAbilities, PortOptions, SwitchPort } from './port.ts';
import { AGEING_MS, MAX_LEARNED, MAX_LEARNED_PER_PORT, Switch } from './switch.ts';

class Station implements SwitchPort {
  readonly name: string;
  readonly got: Uint8Array[] = [];
  readonly link: Attachment;
  onFrame: (frame: Frame) => void = () => {};
  constructor(bridge: Switch, name: string, options?: PortOptions, abilities?: PortAbilities) {
    this.name = name;
    if (abilities) this.abilities = () => abilities;
    this.link = bridge.attach(this, options);
  }
  abilities?: () => PortAbilities;
  deliver(frame: Frame): void { this.got.push(frame.bytes.slice()); this.onFrame(frame); }
  send(to: string, from: string, body: readonly number[] = [8, 0, 1, 2, 3]): void {
    this.link.send({ bytes: Uint8Array.from([...octets(to), ...octets(from), ...body]), checksum: 'complete' });
  }
}
const octets = (mac: string): number[] => mac.split(':').map(o => parseInt(o, 16));
const A = '00:16:3e:00:00:0a', B = '00:16:3e:00:00:0b', C = '00:16:3e:00:00:0c', ALL = 'ff:ff:ff:ff:ff:ff';
const counts = (...stations: Station[]): number[] => stations.map(s => s.got.splice(0).length);

describe('learning', () => {
  test('floods what it does not know, forwards what it does, follows a station that moves', () => {
    const bridge = new Switch('xenbr0'), a = new Station(bridge, 'a'), b = new Station(bridge, 'b'), c = new Station(bridge, 'c');
    a.send(B, A);
    expect(counts(a, b, c)).toEqual([0, 1, 1]);
    b.send(A, B);
    expect(counts(a, b, c)).toEqual([1, 0, 0]);
    a.send(B, A);
    expect(counts(a, b, c)).toEqual([0, 1, 0]);
    a.send(ALL, A);
    a.send('01:00:5e:00:00:01', A);
    expect(counts(a, b, c)).toEqual([0, 2, 2]);
    c.send(ALL, B);
    a.send(B, A);
    expect(counts(a, b, c)).toEqual([1, 1, 1]);
    a.send(A, A);
    expect(counts(a, b, c)).toEqual([0, 0, 0]);
  });

  test('forgets after a while, and what is unplugged', () => {
    let nowMs = 0;
    const bridge = new Switch('xenbr0', () => nowMs), a = new Station(bridge, 'a'), b = new Station(bridge, 'b'), c = new Station(bridge, 'c');
    b.send(ALL, B);
    counts(a, b, c);
    nowMs = AGEING_MS + 1;
    a.send(B, A);
    expect(counts(a, b, c)).toEqual([0, 1, 1]);
    b.send(ALL, B);
    b.link.detach();
    counts(a, b, c);
    a.send(B, A);
    b.send(A, B);
    expect(counts(a, b, c)).toEqual([0, 0, 1]);
    expect([bridge.ports.map(p => p.name), bridge.learnedCount]).toEqual([['a', 'c'], 1]);
  });

  test('a station that invents addresses pushes out its own, and the table has an end', () => {
    const bridge = new Switch('xenbr0'), victim = new Station(bridge, 'victim'), stations = Array.from({ length: 10 }, (_, i) => new Station(bridge, `s${i}`));
    victim.send(ALL, A);
    const invented = (i: number, n: number): string => `02:00:00:${[i, n >> 8, n & 255].map(x => x.toString(16).padStart(2, '0')).join(':')}`;
    for (let n = 0; n < 2000; n++) stations[0]!.send(ALL, invented(0, n));
    expect(bridge.learnedCount).toBe(MAX_LEARNED_PER_PORT + 1);
    counts(victim, ...stations);
    stations[1]!.send(A, B);
    expect(counts(victim, ...stations)).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (const [i, s] of stations.entries()) for (let n = 0; n < 600; n++) s.send(ALL, invented(i, n));
    expect(bridge.learnedCount).toBe(MAX_LEARNED);
  });

  test('bridges share nothing', () => {
    const bridges = new Bridges(['xenbr0', 'xenbr1']), a = new Station(bridges.find('xenbr0')!, 'a'), b = new Station(bridges.find('xenbr1')!, 'b');
    a.send(ALL, A); a.send(B, A); b.send(A, B);
    expect(counts(a, b)).toEqual([0, 0]);
    expect(bridges.find('nobridge0')).toBeUndefined();
  });

  test('what is no frame goes nowhere: too short, too long, from a group', () => {
    const bridge = new Switch('xenbr0'), a = new Station(bridge, 'a'), b = new Station(bridge, 'b');
    a.link.send({ bytes: new Uint8Array(13), checksum: 'complete' });
    a.link.send({ bytes: new Uint8Array(70_000), checksum: 'complete' });
    a.send(ALL, '01:16:3e:00:00:0a');
    expect(counts(a, b)).toEqual([0, 0]);
    expect(bridge.learnedCount).toBe(0);
  });

  test('stations that answer at once, for ever, end somewhere', () => {
    const bridge = new Switch('xenbr0'), a = new Station(bridge, 'a'), b = new Station(bridge, 'b');
    let left = 1000;
    for (const [s, me] of [[a, A], [b, B]] as const) s.onFrame = () => { if (left-- > 0) s.send(ALL, me); };
    a.send(ALL, A);
    expect(left).toBeLessThanOrEqual(0);
  });

  test('a port allowed one source address sends from no other', () => {
    const bridge = new Switch('xenbr0'), a = new Station(bridge, 'a', { allowedMacs: [A] }), b = new Station(bridge, 'b');
    a.send(ALL, C); a.send(ALL, A);
    expect(counts(b)).toEqual([1]);
    expect([bridge.counters.spoofed, macNumber('ff:ff:ff:ff:ff:ff')]).toEqual([1, 2 ** 48 - 1]);
  });
});

describe('VLANs', () => {
  const tagged = (vlan: number): number[] => [0x81, 0, vlan >> 8, vlan & 255, 8, 0, 1, 2, 3];

  test('access ports see their own; a trunk sees tags', () => {
    const bridge = new Switch('xenbr0');
    const a = new Station(bridge, 'a', { vlan: { untagged: 10 } }), b = new Station(bridge, 'b', { vlan: { untagged: 20 } }), c = new Station(bridge, 'c', { vlan: { untagged: 10 } });
    const trunk = new Station(bridge, 'trunk', { vlan: { tagged: [10, 20] } }), other = new Station(bridge, 'other');
    a.send(ALL, A);
    expect([...c.got[0]!.subarray(12)]).toEqual([8, 0, 1, 2, 3]);
    expect([...trunk.got[0]!.subarray(12)]).toEqual(tagged(10));
    expect(counts(a, b, c, trunk, other)).toEqual([0, 0, 1, 1, 0]);
    trunk.send(ALL, B, tagged(20));
    expect([...b.got[0]!.subarray(12)]).toEqual([8, 0, 1, 2, 3]);
    expect(counts(a, b, c, trunk, other)).toEqual([0, 1, 0, 0, 0]);
    // The same address in two VLANs is two stations.
    a.send(ALL, C); b.send(ALL, C);
    counts(a, b, c, trunk, other);
    trunk.send(C, B, tagged(10));
    expect(counts(a, b, c, trunk, other)).toEqual([1, 0, 0, 0, 0]);
    // Nobody enters a VLAN by a tag of its own, and untagged frames of a tagged-only port belong nowhere.
    a.send(ALL, A, tagged(20)); trunk.send(ALL, B); trunk.send(ALL, B, tagged(30));
    expect(counts(a, b, c, trunk, other)).toEqual([0, 0, 0, 0, 0]);
  });

  test('a tag of a guest\'s own passes between plain ports, and does not become the switch\'s at a trunk', () => {
    const bridge = new Switch('xenbr0'), a = new Station(bridge, 'a'), b = new Station(bridge, 'b'), trunk = new Station(bridge, 'trunk', { vlan: { untagged: 1, tagged: [20] } });
    a.send(ALL, A, tagged(20));
    expect([...b.got[0]!.subarray(12)]).toEqual(tagged(20));
    expect(counts(b, trunk)).toEqual([1, 0]);
  });
});
