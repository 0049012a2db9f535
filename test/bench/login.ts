// A whole Debian with systemd: how long to `login:`, and what a person does there. Run it alone on a quiet machine:
//   node bin/run-node26.mjs test/bench/login.ts
import { randomUUID } from 'node:crypto';
import { copyFileSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { diskOf, TestHost } from '../guests/guest-shell.ts';
import { debianRootfs, LOGIN_PACKAGES } from '../guests/rootfs.ts';
import { benchKernel } from './image.ts';

const LIMIT_MS = 600_000, MEMORY_MIB = 512, SIZE_MIB = 900;
const WORK: readonly [name: string, command: string, output: RegExp][] = [
  ['python3', 'python3 -c "print(sum(i * i for i in range(100000)))"', /^333328333350000$/m],
  ['perl', `perl -e 'my $n = 0; $n += $_ for 1 .. 200000; print "$n\\n"'`, /^20000100000$/m],
  ['gcc -O2', `printf '#include <stdio.h>\\nint main(void) { puts("compiled"); return 0; }\\n' >/tmp/a.c; gcc -O2 -o /tmp/a /tmp/a.c && /tmp/a`, /^compiled$/m],
  ['openssl speed', 'openssl speed -seconds 1 -bytes 8192 sha256 2>/dev/null | tail -1', /^sha256 +[\d.]+k$/m],
  ['dpkg -l', 'dpkg -l | grep -c ^ii', /^\d+$/m],
];

const dir = mkdtempSync(join(tmpdir(), 'login-')), disk = join(dir, 'root.img');
const seconds = (from: number): string => `${((performance.now() - from) / 1000).toFixed(1)} s`;
let text = '', look = (): void => {};
const until = (pattern: RegExp): Promise<RegExpExecArray> => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no ${pattern} in:\n${text.slice(-1500)}`)), LIMIT_MS);
  look = () => { const m = pattern.exec(text); if (m) { clearTimeout(timer); look = () => {}; resolve(m); } };
  look();
});

copyFileSync(debianRootfs({ packages: LOGIN_PACKAGES, sizeMiB: SIZE_MIB, onProgress: what => process.stderr.write(`${what}\n`) }), disk, constants.COPYFILE_FICLONE);
const { kernel, initrd } = await benchKernel(), host = await TestHost.start(join(dir, 'run'));
try {
  const begin = performance.now();
  const { domid } = await host.client.create({
    name: 'debian', uuid: randomUUID(), type: 'pv', vcpus: 1, maxVcpus: 1, memoryKib: MEMORY_MIB * 1024, maxMemKib: MEMORY_MIB * 1024, kernel, ramdisk: initrd, cmdline: 'console=hvc0 root=/dev/xvda rw quiet',
    weight: 256, cap: 0, onPoweroff: 'destroy', onReboot: 'destroy', onCrash: 'destroy', onWatchdog: 'destroy', onSoftReset: 'destroy', disks: [diskOf(disk)], vifs: [],
  }, true);
  const console_ = await host.client.console(String(domid));
  console_.on('data', (data: Buffer) => { text += data.toString('latin1').replace(/\r|\x1b\[\??[\d;]*[a-zA-Z]/g, ''); look(); });
  await host.client.act(String(domid), 'unpause');
  await until(/login: $/);
  process.stdout.write(`login: ${seconds(begin)}\n`);
  console_.write('root\n');
  await until(/root@debian:~# $/);
  process.stdout.write(`a shell: ${seconds(begin)}\n`);
  for (const [name, command, output] of WORK) {
    const from = performance.now(), mark = randomUUID().slice(0, 8);
    text = '';
    console_.write(`stty -echo; ${command}; echo "<""${mark} $?>"\n`);
    const status = (await until(new RegExp(`<${mark} (\\d+)>`)))[1], said = output.exec(text)?.[0];
    process.stdout.write(`${name}: ${seconds(from)}, status ${status}, ${said ?? `NOT AS EXPECTED:\n${text}`}\n`);
    if (said === undefined || status !== '0') process.exitCode = 1;
  }
} finally { await host.stop(); rmSync(dir, { recursive: true, force: true }); }
