// What a hostile client of the gdb stub can send.
import { expect, it } from 'vitest';
import { FakeTarget, FAKE_PAGE } from '../../dom0/debug/fake-target.ts';
import { framePacket, PACKET_BYTES, PacketReader } from '../../dom0/debug/gdb-packets.ts';
import { GdbSession } from '../../dom0/debug/gdb-session.ts';
import { fuzz, FUZZ_RUNS, FUZZ_SEED, Random } from './random.ts';

const COMMANDS = ['?', 'g', 'G', 'p', 'P', 'm', 'M', 'X', 'Z0,', 'Z1,', 'z0,', 'Hg', 'Hc', 'T', 'c', 's', 'C05', 'vCont;', 'vCont?', 'qSupported:', 'qXfer:features:read:target.xml:', 'qThreadExtraInfo,', 'QStartNoAckMode', 'qfThreadInfo', 'qC', '\0', 'vRun', 'R', '!'];
const PARTS = ['', ',', ':', ';', '=', '-1', '0', '1', 'ff', 'ffffffff', '100000000', FAKE_PAGE.toString(16), (FAKE_PAGE + 4090n).toString(16), 'ffffffffffffffff', '10000000000000000', 'c', 's:1', 'c:2', 's:-1', 'zz', '}', 'aabb'];

const packet = (r: Random): Uint8Array => {
  if (r.chance(6)) return r.bytes(r.below(64));
  let text = r.pick(COMMANDS);
  for (let n = r.below(6); n > 0; n--) text += r.chance(5) ? Buffer.from(r.bytes(r.below(16))).toString('latin1') : r.pick(PARTS);
  const framed = framePacket(text);
  if (r.chance(8)) framed[r.below(framed.length)] = r.u32() & 0xff;
  return r.chance(10) ? framed.subarray(0, r.below(framed.length)) : framed;
};

it('the packet reader: any bytes, in any pieces, give the same and never more than a packet holds', () => {
  fuzz(r => {
    const stream = Buffer.concat(Array.from({ length: 1 + r.below(20) }, () => packet(r)));
    const whole = new PacketReader().feed(stream), reader = new PacketReader(), pieces = [];
    for (let at = 0; at < stream.length;) { const n = 1 + r.below(9); pieces.push(...reader.feed(stream.subarray(at, at + n))); at += n; }
    expect(pieces).toEqual(whole);
    for (const input of whole) if (input.kind === 'packet') expect(input.data.length).toBeLessThanOrEqual(PACKET_BYTES);
  });
});

it('a session: answers keep to the protocol, requests to the interface, and a sane client is served afterwards', async () => {
  for (let seed = FUZZ_SEED; seed < FUZZ_SEED + FUZZ_RUNS; seed++) {
    const r = new Random(seed), target = new FakeTarget(1 + r.below(3)), answers: string[] = [], reader = new PacketReader(), bad: unknown[] = [];
    const ask = target.request.bind(target);
    target.request = (vcpu, request) => ask(vcpu, request).catch(error => { bad.push(error); throw error; });
    let over = false;
    const session = new GdbSession({
      target, fate: () => 'lives', finish: () => { over = true; },
      send: bytes => { for (const i of reader.feed(bytes)) if (i.kind === 'packet') answers.push(i.data.toString('latin1')); else expect(i.kind).not.toBe('bad'); },
    });
    session.start();
    for (let i = 0; i < 40; i++) {
      session.feed(packet(r));
      if (r.chance(4)) { target.stops[r.below(target.vcpus)] = r.pick([0, 1, 2, 3, 4] as const); session.stopped(); }
      if (r.chance(3)) await new Promise(resolve => { setImmediate(resolve); });
    }
    for (let i = 0; i < 50; i++) await new Promise(resolve => { setImmediate(resolve); });
    expect(bad, `FUZZ_SEED=${seed} FUZZ_RUNS=1 repeats it`).toEqual([]);
    if (!over) {
      // Whatever packet was left open ends here.
      session.feed(Buffer.from('#00\x03'));
      answers.length = 0;
      session.feed(framePacket(`m${FAKE_PAGE.toString(16)},2`));
      for (let i = 0; i < 10; i++) await new Promise(resolve => { setImmediate(resolve); });
      expect(answers.at(-1), `FUZZ_SEED=${seed} FUZZ_RUNS=1 repeats it`).toMatch(/^[0-9a-f]{4}$/);
    }
    await session.close();
    expect(target.closed).toBe(true);
  }
});
