import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { parseMac } from '../../../net/packet/address.ts';
import { Switch } from '../../switch/switch.ts';
import { uplinkOf } from '../index.ts';
import { SocketUplink } from './index.ts';
import { parseSocketSettings } from './settings.ts';

const A = parseMac('00:16:3e:00:00:01')!, B = parseMac('00:16:3e:00:00:02')!;
const frame = (from: Uint8Array, to: Uint8Array, n: number): Uint8Array => Uint8Array.of(...to, ...from, 0x88, 0xb5, ...new Uint8Array(n).fill(n));
const until = async (what: () => boolean): Promise<void> => { while (!what()) await new Promise(resolve => { setTimeout(resolve, 2); }); };
const closers: (() => void)[] = [];
afterEach(() => { for (const close of closers.splice(0).reverse()) close(); });

it('two bridges joined by a socket are one; frames keep their order and their bytes', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'xenolith-socket-')), path = join(dir, 's');
  closers.push(() => rmSync(dir, { recursive: true }));
  const left = new Switch('left'), right = new Switch('right');
  for (const [bridge, text] of [[left, `socket:listen=${path}`], [right, `socket:${path}`]] as const) { const uplink = await uplinkOf(text)(bridge); closers.push(() => uplink!.close()); }
  const got: Uint8Array[] = [], back: Uint8Array[] = [];
  const a = left.attach({ name: 'a', deliver: f => { back.push(f.bytes.slice()); } }), b = right.attach({ name: 'b', deliver: f => { got.push(f.bytes.slice()); } });
  const sent = Array.from({ length: 100 }, (_, i) => frame(A, B, i * 10));
  for (const bytes of sent) a.send({ bytes, checksum: 'complete' });
  await until(() => got.length >= 100);
  expect(got.map(f => Buffer.from(f).toString('hex'))).toEqual(sent.map(f => Buffer.from(f).toString('hex')));
  b.send({ bytes: frame(B, A, 7), checksum: 'complete' });
  await until(() => back.length > 0);
  expect([...back[0]!]).toEqual([...frame(B, A, 7)]);
});

it('a peer that sends no frames is let go, and the next may come', async () => {
  const uplink = await SocketUplink.open(new Switch('x'), parseSocketSettings('listen=127.0.0.1:0'), () => {});
  closers.push(() => uplink.close());
  const { port } = uplink.address as { port: number }, bad = connect(port, '127.0.0.1');
  bad.on('error', () => {});
  bad.write('GET / HTTP/1.0\r\n\r\n');
  await once(bad, 'close');
  await until(() => !uplink.connected);
  const next = connect(port, '127.0.0.1');
  await until(() => uplink.connected);
  next.destroy();
});

it('a socket that a killed host left behind is taken over; one that somebody listens at, or a file, is not', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'xenolith-socket-')), path = join(dir, 's'), file = join(dir, 'f');
  closers.push(() => rmSync(dir, { recursive: true }));
  spawnSync(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`]);
  expect(statSync(path).isSocket()).toBe(true);
  const uplink = (await uplinkOf(`socket:listen=${path}`)(new Switch('x')))!;
  closers.push(() => uplink.close());
  await expect(uplinkOf(`socket:listen=${path}`)(new Switch('y'))).rejects.toThrow('EADDRINUSE');
  const peer = connect(path);
  closers.push(() => peer.destroy());
  await once(peer, 'connect');
  writeFileSync(file, 'precious');
  await expect(uplinkOf(`socket:listen=${file}`)(new Switch('z'))).rejects.toThrow('cannot listen');
  expect(readFileSync(file, 'utf8')).toBe('precious');
});

it('what cannot be is said', async () => {
  for (const [text, part] of [['socket:nowhere', 'nowhere'], ['socket:1.2.3.4:99999', '99999'], ['bridge', 'bridge']] as const) expect(() => uplinkOf(text)).toThrow(part);
  await expect(uplinkOf('socket:/nonexistent/passt.sock')(new Switch('x'))).rejects.toThrow('nobody answers at /nonexistent/passt.sock');
});
