// A TAP device of this machine's own, where the person may make one: its kernel answers ARP and echo requests.
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { expect, it, type TestContext } from 'vitest';
import { parseAddress, parseMac } from '../../../net/packet/address.ts';
import { arpFrame, ARPOP_REQUEST, parseArp } from '../../../net/packet/arp.ts';
import { BROADCAST_MAC, ETH_P_ARP, parseEthernet } from '../../../net/packet/ethernet.ts';
import { icmpFrame, parseIcmp } from '../../../net/packet/icmp.ts';
import { parseIp } from '../../../net/packet/ip.ts';
import { Switch } from '../../switch/switch.ts';
import { uplinkOf } from '../index.ts';

const NAME = `xltest${process.pid % 100_000}`;
const MAC = parseMac('00:16:3e:00:00:01')!, GUEST = parseAddress('10.254.7.2')!, HOST = parseAddress('10.254.7.1')!;

function why(): string {
  try { accessSync('/dev/net/tun', constants.R_OK | constants.W_OK); } catch { return '/dev/net/tun cannot be opened'; }
  return process.getuid?.() === 0 && spawnSync('ip', ['-V']).status === 0 ? '' : 'root may make TAP devices, with ip of iproute2';
}

function unlessPossible(ctx: TestContext): void {
  const missing = why();
  if (missing) { process.stderr.write(`\n*** SKIPPED: the uplink tap: ${missing}\n`); ctx.skip(); }
}

it('frames go to the kernel behind a TAP device and come back', async ctx => {
  unlessPossible(ctx);
  const bridge = new Switch('x'), got: Uint8Array[] = [], uplink = (await uplinkOf(`tap:${NAME}`)(bridge))!;
  try {
    for (const args of [['addr', 'add', '10.254.7.1/24', 'dev', NAME], ['link', 'set', NAME, 'up']]) expect(spawnSync('ip', args, { encoding: 'utf8' }).stderr).toBe('');
    const port = bridge.attach({ name: 'guest', deliver: frame => { got.push(frame.bytes.slice()); } });
    const answer = async <T>(find: (b: Uint8Array) => T | undefined): Promise<T> => {
      for (;;) {
        for (const b of got.splice(0)) { const found = find(b); if (found !== undefined) return found; }
        await new Promise(resolve => { setTimeout(resolve, 5); });
      }
    };
    port.send({ bytes: arpFrame(BROADCAST_MAC, { operation: ARPOP_REQUEST, senderMac: MAC, senderIp: GUEST, targetMac: new Uint8Array(6), targetIp: HOST }), checksum: 'complete' });
    const hostMac = await answer(b => { const e = parseEthernet(b)!; const arp = e.type === ETH_P_ARP ? parseArp(b, e.at) : undefined; return arp && arp.operation !== ARPOP_REQUEST ? arp.senderMac.slice() : undefined; });
    for (const size of [0, 56, 1400]) {
      port.send({ bytes: icmpFrame({ sourceMac: MAC, destinationMac: hostMac, source: GUEST, destination: HOST }, Uint8Array.of(8, 0, 0, 0, 7, 7, size >> 8, size & 255, ...new Uint8Array(size).fill(size)), 64), checksum: 'complete' });
      const back = await answer(b => { const e = parseEthernet(b)!, ip = parseIp(b, e.at, e.type), icmp = ip && parseIcmp(b, ip); return icmp?.type === 0 ? b.slice(ip!.at, ip!.end) : undefined; });
      expect([back.length, back[6]! << 8 | back[7]!, back.at(-1)]).toEqual([8 + size, size, size & 255]);
    }
  } finally { uplink.close(); }
});

it('a device that goes away leaves the bridge, and nothing that runs', async ctx => {
  unlessPossible(ctx);
  const bridge = new Switch('x'), lines: string[] = [], uplink = (await uplinkOf(`tap:${NAME}`)(bridge, line => lines.push(line)))!;
  try {
    // Down and up again is not away.
    for (const args of [['set', NAME, 'up'], ['set', NAME, 'down'], ['set', NAME, 'up']]) expect(spawnSync('ip', ['link', ...args], { encoding: 'utf8' }).stderr).toBe('');
    await new Promise(resolve => { setTimeout(resolve, 100); });
    expect([bridge.ports.length, lines]).toEqual([1, []]);
    spawnSync('ip', ['link', 'del', NAME]);
    await expect.poll(() => bridge.ports.length, { timeout: 10_000 }).toBe(0);
    expect(lines).toEqual([`uplink tap: ${NAME} is gone`]);
  } finally { uplink.close(); }
});

it('what cannot be is said', async () => {
  await expect(uplinkOf('tap:a-name-that-is-too-long')(new Switch('x'))).rejects.toThrow('tap:NAME');
  if (why() === '') await expect(uplinkOf('tap:lo')(new Switch('x'))).rejects.toThrow('uplink tap: lo: ');
});
