// Throughput and round trips of guests: iperf3 and ping between two guests here, between a guest and this host, and
// between a guest of QEMU's software CPU (virtio-net, user network) and this host, in alternation.
//   node bin/run-node26.mjs test/bench/network.ts [seconds per measurement] [rounds] [part of a case's name]
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair, type Duplex } from 'node:stream';
import { readDeb } from '../../tools/image/deb.ts';
import { defaultCacheDir, PackageCache } from '../../tools/image/packages.ts';
import { GuestShell, TestHost } from '../guests/guest-shell.ts';
import { benchKernel } from './image.ts';

const seconds = Number(process.argv[2] ?? 5), rounds = Number(process.argv[3] ?? 3), only = process.argv[4] ?? '';
const PACKAGES = ['iperf3', 'libiperf0', 'libsctp1', 'libssl3', 'libc6'];
const PORT = 5201, GATEWAY = '10.0.2.2', LIMIT_MS = 300_000;
const IPERF = 'LD_LIBRARY_PATH=/mnt/lib /mnt/lib/ld-linux-x86-64.so.2 /mnt/iperf3';

const dir = mkdtempSync(join(tmpdir(), 'xenolith-netbench-'));
const ending: (() => unknown)[] = [() => rmSync(dir, { recursive: true, force: true })];

/** A disk with iperf3 and its libraries. */
async function iperfImage(): Promise<string> {
  const packages = new PackageCache(defaultCacheDir()), tree = join(dir, 'tree'), image = join(dir, 'iperf.img');
  mkdirSync(join(tree, 'lib'), { recursive: true });
  for (const name of PACKAGES) {
    const links: [string, string][] = [], files = new Map<string, Uint8Array>();
    for (const e of readDeb(readFileSync(await packages.fetch(name)))) {
      const base = e.path.slice(e.path.lastIndexOf('/') + 1);
      if (e.type === 'file' && (/\.so(\.|$)/.test(base) || base === 'iperf3')) files.set(base, e.data);
      if (e.type === 'symlink' && /\.so(\.|$)/.test(base)) links.push([base, e.link.slice(e.link.lastIndexOf('/') + 1)]);
    }
    for (const [base, target] of links) { const data = files.get(target); if (data) files.set(base, data); }
    for (const [base, data] of files) writeFileSync(join(tree, base === 'iperf3' ? base : `lib/${base}`), data, { mode: 0o755 });
  }
  const made = spawnSync('mke2fs', ['-q', '-t', 'ext4', '-d', tree, image, '96M'], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`mke2fs: ${made.stderr}`);
  return image;
}

function qemu(kernel: string, initrd: string, image: string): Duplex {
  const child: ChildProcess = spawn('qemu-system-x86_64', [
    '-accel', 'tcg', '-cpu', 'Nehalem', '-smp', '1', '-m', '256', '-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot',
    '-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 quiet ip=off', '-drive', `file=${image},format=raw,if=virtio,read-only=on`,
    '-netdev', 'user,id=n', '-device', 'virtio-net-pci,netdev=n',
  ], { stdio: ['pipe', 'pipe', 'inherit'] });
  ending.push(() => child.kill('SIGKILL'));
  const [mine, theirs] = duplexPair();
  child.stdout!.pipe(theirs);
  theirs.pipe(child.stdin!);
  return mine;
}

/** Megabits per second that arrived. @param options of iperf3's client */
async function iperf(guest: GuestShell, server: string, options: string): Promise<number> {
  const output = await guest.run(`${IPERF} -c ${server} -p ${PORT} -t ${seconds} -J ${options}`, undefined, LIMIT_MS);
  const report = JSON.parse(output.slice(output.indexOf('{'))) as { error?: string; end?: { sum_received?: { bits_per_second: number } } };
  if (report.error || !report.end?.sum_received) throw new Error(`${guest.name}: iperf3: ${report.error ?? output}`);
  return report.end.sum_received.bits_per_second / 1e6;
}
function median(values: readonly number[]): number {
  const sorted = [...values].sort((x, y) => x - y), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
/** The median of sixty. */
async function roundTripMs(guest: GuestShell, address: string): Promise<number> {
  return median([...(await guest.run(`ping -c 60 -A ${address}`)).matchAll(/time=([\d.]+) ms/g)].map(m => Number(m[1])));
}

try {
  const { kernel, initrd } = await benchKernel(), image = await iperfImage();
  const host = await TestHost.start(join(dir, 'run'));
  ending.push(() => host.stop());
  const disk = (vdev: string) => ({ target: image, format: 'raw' as const, vdev, readOnly: true, cdrom: false, discard: false, trusted: true });
  const vif = { trusted: true }, files = { kernel, ramdisk: initrd }, more = { disks: [disk('xvda')] };
  const a = await GuestShell.boot(host.client, 'a', files, [vif], more), b = await GuestShell.boot(host.client, 'b', files, [vif], more);
  const q = await GuestShell.over('qemu', qemu(kernel, initrd, image));
  for (const guest of [a, b, q]) await guest.run(`mount -o ro ${guest === q ? '/dev/vda' : '/dev/xvda'} /mnt; ip link set lo up; ip link set eth0 up; udhcpc -i eth0 -s /etc/xenolith/udhcpc -q -n >/dev/null`);
  const peer = /inet ([\d.]+)/.exec(await b.run('ip -4 addr show eth0'))![1]!;
  await b.run(`${IPERF} -s -D -p ${PORT}`);
  const tree = join(dir, 'tree'), server = spawn(join(tree, 'lib/ld-linux-x86-64.so.2'), [join(tree, 'iperf3'), '-s', '-B', '127.0.0.1', '-p', String(PORT)], { env: { LD_LIBRARY_PATH: join(tree, 'lib') }, stdio: 'ignore' });
  ending.push(() => server.kill());
  const cases: [string, () => Promise<number>][] = [
    ...(['', '-P 4'] as const).flatMap((streams): [string, () => Promise<number>][] => [
      [`guest to guest ${streams}`, () => iperf(a, peer, streams)],
      [`guest to host ${streams}`, () => iperf(a, GATEWAY, streams)], [`qemu to host ${streams}`, () => iperf(q, GATEWAY, streams)],
      [`host to guest ${streams}`, () => iperf(a, GATEWAY, `-R ${streams}`)], [`host to qemu ${streams}`, () => iperf(q, GATEWAY, `-R ${streams}`)],
    ]),
    ['round trip to the gateway, ms', () => roundTripMs(a, GATEWAY)], ['round trip of qemu\'s, ms', () => roundTripMs(q, GATEWAY)], ['round trip to the other guest, ms', () => roundTripMs(a, peer)],
  ];
  const results = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) for (const [name, measure] of cases.filter(([name]) => name.includes(only))) {
    const value = await measure().catch(error => { process.stderr.write(`${name}: ${(error as Error).message}\n`); return NaN; });
    results.set(name, [...results.get(name) ?? [], value]);
    process.stderr.write(`${name}: ${value.toFixed(2)}\n`);
  }
  for (const { name, vifs } of await host.client.domains()) for (const v of vifs) process.stderr.write(`${name}: ${JSON.stringify(v.counters)}\n`);
  for (const [name, values] of results) process.stdout.write(`${name.padEnd(36)} ${median(values).toFixed(2).padStart(9)}   (${values.map(v => v.toFixed(2)).join(', ')})\n`);
} finally { for (const end of ending.reverse()) await end(); }
