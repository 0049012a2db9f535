import { beforeEach, describe, expect, test } from 'vitest';
import { DEBUG_STOP, REGISTERS } from '../../hypervisor/public/debug.ts';
import { FakeTarget, FAKE_PAGE } from './fake-target.ts';
import { framePacket, PacketReader } from './gdb-packets.ts';
import { TARGET_XML } from './gdb-registers.ts';
import { GdbSession, type DomainFate } from './gdb-session.ts';

let target: FakeTarget, session: GdbSession, sent: string[], fate: DomainFate, finished: boolean, reader: PacketReader;
const settle = (): Promise<void> => new Promise(resolve => { setImmediate(resolve); });
const PAGE = FAKE_PAGE.toString(16);

beforeEach(async () => {
  target = new FakeTarget(); sent = []; fate = 'lives'; finished = false; reader = new PacketReader();
  session = new GdbSession({
    target, fate: () => fate, finish: () => { finished = true; },
    send: bytes => { for (const i of reader.feed(bytes)) if (i.kind === 'packet') sent.push(i.data.toString('latin1')); },
  });
  session.start();
  await settle();
});
/** What gdb gets for a packet. */
async function ask(packet: string): Promise<string | undefined> {
  sent = [];
  session.feed(framePacket(packet));
  for (let i = 0; i < 5; i++) await settle();
  return sent.at(-1);
}

describe('a session', () => {
  test('begins with every vCPU held', async () => {
    expect(target.stops).toEqual([DEBUG_STOP.asked, DEBUG_STOP.asked]);
    expect(await ask('?')).toBe('T05thread:1;');
    expect(await ask('qfThreadInfo')).toBe('m1,2');
    expect(await ask('qsThreadInfo')).toBe('l');
  });
  test('announces what it can', async () => {
    expect(await ask('qSupported:swbreak+;hwbreak+')).toContain('qXfer:features:read+');
    expect(await ask('vMustReplyEmpty')).toBe('');
    expect(await ask('qXfer:features:read:target.xml:0,40')).toBe(`m${TARGET_XML.slice(0, 0x40)}`);
    expect(await ask(`qXfer:features:read:target.xml:${(TARGET_XML.length - 5).toString(16)},40`)).toBe(`l${TARGET_XML.slice(-5)}`);
  });
  test('registers of each thread', async () => {
    target.registers[1]!.set([1, 2, 3, 4, 5, 6, 7, 8], REGISTERS.gpr);
    expect((await ask('g'))!.slice(0, 16)).toBe('0'.repeat(16));
    expect(await ask('Hg2')).toBe('OK');
    expect((await ask('g'))!.slice(0, 16)).toBe('0102030405060708');
    expect(await ask('p10')).toBe('0110000000000000');
    expect(await ask('P1=1122334455667788')).toBe('OK');
    expect([...target.registers[1]!.subarray(REGISTERS.gpr + 24, REGISTERS.gpr + 32)]).toEqual([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
    expect(await ask('P1=11')).toBe('E16');
    expect(await ask('Hg9')).toBe('E16');
    expect(await ask('pffff')).toBe('E16');
  });
  test('G changes what it names and leaves the rest', async () => {
    const before = (await ask('g'))!;
    expect(await ask(`G${'ff'.repeat(8)}${before.slice(16)}`)).toBe('OK');
    expect(await ask('g')).toBe(`${'ff'.repeat(8)}${before.slice(16)}`);
  });
  test('memory, by address, to where it ends', async () => {
    expect(await ask(`m${PAGE},4`)).toBe('00010203');
    expect(await ask(`m${(FAKE_PAGE + 4094n).toString(16)},10`)).toBe('feff');
    expect(await ask('m10,4')).toBe('E0e');
    expect(await ask(`M${PAGE},2:aabb`)).toBe('OK');
    expect([...target.memory.subarray(0, 3)]).toEqual([0xaa, 0xbb, 2]);
    expect(await ask(`X${PAGE},2:}#`)).toBe('OK');
    expect([...target.memory.subarray(0, 3)]).toEqual([0x7d, 0x23, 2]);
    expect(await ask(`M${PAGE},3:aabb`)).toBe('E16');
  });
  test('a breakpoint is set in every vCPU; the one that meets it is told of, the others are held', async () => {
    await ask('qSupported:swbreak+;hwbreak+');
    expect(await ask(`Z0,${PAGE},1`)).toBe('OK');
    expect(target.breakpoints.map(set => set.has(FAKE_PAGE))).toEqual([true, true]);
    expect(await ask('vCont;c')).toBeUndefined();
    expect(target.stops).toEqual([DEBUG_STOP.none, DEBUG_STOP.none]);
    target.stop(1, DEBUG_STOP.breakpoint, FAKE_PAGE);
    session.stopped();
    await settle(); await settle();
    expect(sent).toEqual(['T05swbreak:;thread:2;']);
    expect(target.stops).toEqual([DEBUG_STOP.asked, DEBUG_STOP.breakpoint]);
    expect(await ask(`z0,${PAGE},1`)).toBe('OK');
    expect(target.breakpoints[0]!.size).toBe(0);
  });
  test('a watchpoint is set in every vCPU, also in one that comes up later; the stop says what was touched', async () => {
    target.started[1] = false;
    expect(await ask('Z2,7f00,4')).toBe('OK');
    expect(await ask('Z4,8f00,8')).toBe('OK');
    expect(await ask('Z3,8f00,0')).toBe('E16');
    expect(await ask('Z3,8f00,1001')).toBe('E16');
    expect(await ask('z4,8f00,8')).toBe('OK');
    await ask('c');
    target.started[1] = true;
    target.stops[1] = DEBUG_STOP.start;
    session.stopped();
    await settle(); await settle();
    expect(target.watches).toEqual([new Map([[0x7f00n, 2]]), new Map([[0x7f00n, 2]])]);
    sent = [];
    target.stop(0, DEBUG_STOP.watch, 0x2000n);
    target.stop(1, DEBUG_STOP.watch, 0x3000n);
    session.stopped(); session.stopped();
    for (let n = 0; n < 4; n++) await settle();
    expect(sent).toEqual(['T05watch:7f00;thread:1;']);
    expect(await ask('vCont;c')).toBe('T05watch:7f00;thread:2;');
    expect(await ask('vCont;c')).toBeUndefined();
    expect(target.stops).toEqual([DEBUG_STOP.none, DEBUG_STOP.none]);
  });
  test('two that meet it at once are told of one after the other', async () => {
    await ask(`Z1,${PAGE},1`);
    await ask('vCont;c');
    sent = [];
    target.stop(0, DEBUG_STOP.breakpoint, FAKE_PAGE);
    target.stop(1, DEBUG_STOP.breakpoint, FAKE_PAGE);
    session.stopped(); session.stopped();
    await settle(); await settle();
    expect(sent).toEqual(['T05thread:1;']);
    expect(await ask('vCont;c')).toBe('T05thread:2;');
    expect(await ask('vCont;c')).toBeUndefined();
    expect(target.stops).toEqual([DEBUG_STOP.none, DEBUG_STOP.none]);
  });
  test('an interrupt holds all; outside a run it is nothing', async () => {
    session.feed(Buffer.from('\x03'));
    await settle();
    await ask('c');
    sent = [];
    session.feed(Buffer.from('\x03'));
    await settle();
    expect(sent).toEqual(['T02thread:1;']);
    expect(target.stops).toEqual([DEBUG_STOP.asked, DEBUG_STOP.asked]);
  });
  test('a step moves one vCPU alone', async () => {
    await ask('Hg2');
    target.log.length = 0;
    await ask('vCont;s:2');
    expect(target.log).toEqual(['step 1']);
    target.stop(1, DEBUG_STOP.step, 0x2000n);
    sent = [];
    session.stopped();
    await settle();
    expect(sent).toEqual(['T05thread:2;']);
  });
  test('a vCPU that is brought up gets the breakpoints and runs', async () => {
    target.started[1] = false;
    await ask(`Z0,${PAGE},1`);
    await ask('c');
    target.started[1] = true;
    target.stops[1] = DEBUG_STOP.start;
    session.stopped();
    await settle(); await settle();
    expect([target.breakpoints[1]!.has(FAKE_PAGE), target.stops[1]]).toEqual([true, DEBUG_STOP.none]);
  });
  test('the end of the domain ends the run', async () => {
    await ask('c');
    sent = [];
    fate = 'crashed';
    session.stopped();
    await settle(); await settle();
    expect(sent).toEqual(['T0bthread:1;']);
    expect(await ask('c')).toBe('T0bthread:1;');
    fate = 'ended';
    expect(await ask('c')).toBe('W00');
  });
  test('detach and a lost connection let the domain run on', async () => {
    await ask(`Z0,${PAGE},1`);
    expect(await ask('D')).toBe('OK');
    expect([target.closed, finished, target.breakpoints[0]!.size]).toEqual([true, true, 0]);
    target.closed = false;
    await session.close();
    expect(target.closed).toBe(true);
    expect(await ask('?')).toBeUndefined();
  });
});
