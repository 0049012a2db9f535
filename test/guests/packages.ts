// Real guests for tests: Debian packages, fetched by apt into the user's cache folder and kept there. A test that
// needs one calls guestFile in a beforeAll and skips, loudly, where it is null.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readDeb } from '../../tools/image/deb.ts';
import { defaultCacheDir, PackageCache } from '../../tools/image/packages.ts';

export const CLOUD_KERNEL = { meta: 'linux-image-cloud-amd64', prefix: 'linux-image-', path: /^boot\/vmlinuz-/ };
export const GENERIC_KERNEL = { meta: 'linux-image-amd64', prefix: 'linux-image-', path: /^boot\/vmlinuz-/ };
export const GRUB_XEN = { name: 'grub-xen-host', path: /^usr\/lib\/grub-xen\/grub-x86_64-xen\.bin$/ };
export const BUSYBOX = { name: 'busybox-static', path: /^(usr\/)?bin\/busybox$/ };

export type GuestSource = ({ readonly name: string } | { readonly meta: string; readonly prefix: string }) & { readonly path: RegExp };

/** Says on stderr why a test does not run. Set XENOLITH_NO_DOWNLOAD to keep tests off the network. */
function skip(what: string, why: string): null {
  process.stderr.write(`\n*** SKIPPED: tests with ${what}: ${why}\n`);
  return null;
}

/** Path of the file, extracted from its package; null (and a line on stderr) where it cannot be had. */
export async function guestFile(source: GuestSource): Promise<string | null> {
  const what = 'name' in source ? source.name : source.meta;
  const dir = join(defaultCacheDir(), 'guests'), target = join(dir, `${what}-${source.path.source.replace(/\W+/g, '_')}`);
  if (existsSync(target)) return target;
  if (process.env['XENOLITH_NO_DOWNLOAD']) return skip(what, 'not in the cache folder, and XENOLITH_NO_DOWNLOAD is set');
  try {
    const packages = new PackageCache(defaultCacheDir());
    const name = 'name' in source ? source.name : await packages.dependency(source.meta, source.prefix);
    if (name === null) return skip(what, 'apt does not know the package');
    for (const entry of readDeb(readFileSync(await packages.fetch(name)))) {
      if (entry.type !== 'file' || !source.path.test(entry.path)) continue;
      mkdirSync(dir, { recursive: true });
      const partial = `${target}.${process.pid}`;
      writeFileSync(partial, entry.data);
      renameSync(partial, target);
      return target;
    }
    return skip(what, `the package ${name} has no ${source.path}`);
  } catch (error) {
    return skip(what, (error as Error).message);
  }
}
