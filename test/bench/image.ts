// The benchmark's kernel, initrd and root file system: the same three files for every machine.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readDeb } from '../../tools/image/deb.ts';
import { INITRD_VERSION, makeInitrd, WANTED_MODULES } from '../../tools/image/initrd.ts';
import { closeModules, moduleName } from '../../tools/image/modules.ts';
import { defaultCacheDir, PackageCache } from '../../tools/image/packages.ts';
import { debianRootfs } from '../guests/rootfs.ts';
import { FILES, FINISH, PACKAGES } from './workloads.ts';

/** What a PC's kernel needs for a virtio disk and network, beside the Xen frontends. */
const VIRTIO = ['virtio_pci', 'virtio_blk', 'virtio_net'];
const SIZE_MIB = 1400;

export const benchImage = (onProgress?: (what: string) => void): string => debianRootfs({ packages: PACKAGES, sizeMiB: SIZE_MIB, files: FILES, finish: FINISH, ...(onProgress ? { onProgress } : {}) });

/** Debian's cloud kernel and an initrd with the modules for both kinds of machine. @returns their paths */
export async function benchKernel(): Promise<{ kernel: string; initrd: string; release: string }> {
  const packages = new PackageCache(defaultCacheDir());
  const deb = await packages.fetchDependency('linux-image-cloud-amd64', 'linux-image-'), busyboxDeb = await packages.fetch('busybox-static');
  const release = /linux-image-([^_]+)_/.exec(deb)![1]!, stem = join(defaultCacheDir(), 'guests', `bench-${INITRD_VERSION}n-${release}`);
  const paths = { kernel: `${stem}.vmlinuz`, initrd: `${stem}.initrd`, release };
  if (existsSync(paths.kernel) && existsSync(paths.initrd)) return paths;
  mkdirSync(dirname(stem), { recursive: true });
  const modules = new Map<string, Uint8Array>();
  for (const e of readDeb(readFileSync(deb))) {
    if (e.type !== 'file') continue;
    if (/^boot\/vmlinuz-/.test(e.path)) writeFileSync(paths.kernel, e.data);
    else if (/\.ko(\.\w+)?$/.test(e.path)) modules.set(moduleName(e.path), e.data);
  }
  const busybox = [...readDeb(readFileSync(busyboxDeb))].find(e => e.type === 'file' && /^(usr\/)?bin\/busybox$/.test(e.path));
  if (busybox?.type !== 'file') throw new Error(`${busyboxDeb} holds no busybox`);
  writeFileSync(paths.initrd, makeInitrd(busybox.data, closeModules(modules, [...WANTED_MODULES, ...VIRTIO])));
  return paths;
}
