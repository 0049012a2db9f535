// The demo's initrd: busybox, a small init, and the kernel modules of the Xen frontends and ext4.
import { readFileSync } from 'node:fs';
import { Cpio } from './cpio.ts';
import type { ModuleFile } from './modules.ts';

/** Changes whenever the files written here do, so that a cached initrd of another version is made anew. */
export const INITRD_VERSION = 3;

/** What the demo needs of the kernel; names that are built in or absent are skipped. crc32c is what ext4 asks for. */
export const WANTED_MODULES = ['xen-blkfront', 'xen-netfront', 'crc32c_generic', 'ext4'];

const script = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8');

// busybox's shell prefers its own applets to what PATH finds, and its poweroff waits for an init that is not there.
const PROFILE = `export PATH=/sbin:/bin PS1='demo:\\w# '
alias poweroff=/sbin/poweroff halt=/sbin/halt reboot=/sbin/reboot
`;

/** @param busybox a statically linked busybox; @param modules in loading order */
export function makeInitrd(busybox: Uint8Array, modules: readonly ModuleFile[]): Uint8Array {
  const cpio = new Cpio();
  for (const d of ['bin', 'sbin', 'dev', 'proc', 'sys', 'tmp', 'run', 'root', 'mnt', 'etc/xenolith', 'lib/modules']) cpio.directory(d);
  cpio.charDevice('dev/console', 5, 1).charDevice('dev/null', 1, 3, 0o666);
  cpio.file('bin/busybox', busybox, 0o755).symlink('bin/sh', 'busybox');
  cpio.file('init', script('init.sh'), 0o755);
  // The kernel itself calls these when the toolstack asks for a shutdown.
  for (const name of ['poweroff', 'reboot', 'halt']) cpio.file(`sbin/${name}`, script('poweroff.sh'), 0o755);
  cpio.file('etc/xenolith/udhcpc', script('udhcpc.sh'), 0o755);
  cpio.file('etc/passwd', 'root::0:0:root:/root:/bin/sh\n').file('etc/group', 'root:x:0:\n').file('etc/profile', PROFILE);
  cpio.file('etc/xenolith/modules', modules.map((m) => `${m.name}\n`).join(''));
  for (const m of modules) cpio.file(`lib/modules/${m.name}.ko`, m.data);
  return cpio.finish();
}

/**
 * A second archive to put behind the initrd: init then runs `command` with sh instead of a shell on the console.
 * @param mark what the output's marks contain; see exec-output.ts
 */
export function makeExecArchive(command: string, mark: string): Uint8Array {
  return new Cpio().file('etc/xenolith/exec', `${command}\n`, 0o755).file('etc/xenolith/mark', `${mark}\n`).finish();
}
