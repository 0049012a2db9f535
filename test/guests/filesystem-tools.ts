// A ramdisk with Debian's own mke2fs beside the demo's busybox, whose mke2fs knows no ext4.
import { readFileSync, writeFileSync } from 'node:fs';
import { Cpio } from '../../tools/image/cpio.ts';
import { readDeb } from '../../tools/image/deb.ts';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir, PackageCache } from '../../tools/image/packages.ts';

const LOADER = 'lib64/ld-linux-x86-64.so.2';
/** Packages and what of them mke2fs needs. */
const PARTS: Readonly<Record<string, RegExp>> = {
  e2fsprogs: /\/(mke2fs|mke2fs\.conf)$/, libext2fs2: /lib(ext2fs|e2p)\.so\.2/, 'libcom-err2': /libcom_err\.so\.2/, libblkid1: /libblkid\.so\.1/, libuuid1: /libuuid\.so\.1/,
  libc6: /\/(libc\.so\.6|libpthread\.so\.0|ld-linux-x86-64\.so\.2)$/,
};

/** @returns paths of kernel and ramdisk; the ramdisk is written to `path` */
export async function guestWithMkfs(path: string): Promise<{ kernel: string; ramdisk: string }> {
  const demo = await prepareDemo({ cacheDir: defaultCacheDir() }), packages = new PackageCache(defaultCacheDir()), cpio = new Cpio();
  for (const d of ['lib64', 'lib', 'lib/x86_64-linux-gnu', 'sbin', 'etc']) cpio.directory(d);
  for (const [name, wanted] of Object.entries(PARTS)) {
    for (const e of readDeb(readFileSync(await packages.fetch(name)))) {
      if (!wanted.test(e.path) || e.type !== 'file' && e.type !== 'symlink') continue;
      // Packages of different ages have /usr in front or not.
      const to = e.path.endsWith('ld-linux-x86-64.so.2') && e.type === 'file' ? LOADER : e.path.replace(/^usr\/(?=lib|sbin)/, '');
      if (e.type === 'file') cpio.file(to, e.data, 0o755);
      else if (to !== LOADER) cpio.symlink(to, e.link);
    }
  }
  cpio.symlink('sbin/mkfs.ext4', 'mke2fs');
  writeFileSync(path, Buffer.concat([readFileSync(demo.ramdiskPath), cpio.finish()]));
  return { kernel: demo.kernelPath, ramdisk: path };
}
