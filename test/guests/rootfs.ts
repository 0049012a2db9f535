// A Debian root file system as an ext4 image, made with mmdebstrap once and kept in the user's cache folder.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { defaultCacheDir } from '../../tools/image/packages.ts';

export interface RootfsOptions {
  /** Debian package names, beside the essential ones. */
  readonly packages: readonly string[];
  readonly sizeMiB: number;
  /** More files: absolute path in the image to its text. Those that start with #! are executable. */
  readonly files?: Readonly<Record<string, string>>;
  /** Shell commands run in the unpacked tree ($1) before it becomes an image. */
  readonly finish?: string;
  /** Called with a word on each long step. */
  readonly onProgress?: (what: string) => void;
}

/** systemd with a login on the console, and what issue trackers' reproductions most often want. */
export const LOGIN_PACKAGES = ['systemd', 'systemd-sysv', 'udev', 'dbus', 'kmod', 'login', 'passwd', 'python3-minimal', 'perl', 'gcc', 'libc6-dev', 'openssl', 'e2fsprogs', 'procps', 'iproute2', 'iputils-ping'];

const SUITE = 'bookworm', SOURCES = ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list'];
const TOOLS = ['mmdebstrap', 'mke2fs', 'tar', 'fakeroot'];

/** root has no password; hvc0 and ttyS0 have a login through systemd's own generator. */
const CONFIGURE = `
set -e
sed -i 's/^root:[^:]*:/root::/' "$1/etc/shadow"
echo debian > "$1/etc/hostname"
rm -f "$1/etc/resolv.conf" "$1/usr/sbin/policy-rc.d"
: > "$1/etc/fstab"
`;

/** What is missing on this machine to make an image; empty where nothing is. */
export function missingTools(): string[] {
  return TOOLS.filter(t => spawnSync('sh', ['-c', `command -v ${t}`], { env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` } }).status !== 0);
}

/** Path of the image; do not write to it, copy it (cp --sparse=always). @throws Error that says what is missing */
export function debianRootfs(options: RootfsOptions): string {
  const key = createHash('sha256').update(JSON.stringify([SUITE, CONFIGURE, options.packages, options.sizeMiB, options.files ?? {}, options.finish ?? ''])).digest('hex').slice(0, 16);
  const target = join(defaultCacheDir(), 'guests', `rootfs-${key}.img`);
  if (existsSync(target)) return target;
  const missing = missingTools();
  if (missing.length > 0) throw new Error(`Making a Debian root file system needs ${missing.join(', ')}: install the packages mmdebstrap, e2fsprogs and fakeroot.`);
  mkdirSync(dirname(target), { recursive: true });
  const work = mkdtempSync(join(tmpdir(), 'xenolith-rootfs-')), partial = `${target}.${process.pid}`;
  try {
    chmodSync(work, 0o755);
    options.onProgress?.(`fetching Debian ${SUITE} with ${options.packages.join(' ')}`);
    const sources = SOURCES.find(f => existsSync(f) && statSync(f).size > 0), tarball = join(work, 'root.tar');
    must('mmdebstrap', ['--variant=minbase', '--quiet', '--aptopt=Apt::Install-Recommends "false"', ...options.packages.map(p => `--include=${p}`), SUITE, tarball, ...(sources ? [sources] : [])]);
    options.onProgress?.('making the image');
    const extra = join(work, 'extra');
    mkdirSync(extra);
    for (const [path, text] of Object.entries(options.files ?? {})) {
      mkdirSync(dirname(join(extra, path)), { recursive: true });
      writeFileSync(join(extra, path), text, { mode: text.startsWith('#!') ? 0o755 : 0o644 });
    }
    writeFileSync(join(work, 'finish.sh'), `${CONFIGURE}\ncp -rT --no-preserve=ownership "$2" "$1"\n${options.finish ?? ''}\n`);
    // One fakeroot session, so that an ordinary user's image has root's files too. Devices come with devtmpfs.
    must('fakeroot', ['sh', '-ec', 'mkdir "$0/root"; tar -C "$0/root" --exclude="./dev/*" -xf "$0/root.tar"; sh "$0/finish.sh" "$0/root" "$0/extra"; mke2fs -q -t ext4 -L root -d "$0/root" "$1" "$2"', work, partial, `${options.sizeMiB}M`]);
    renameSync(partial, target);
    return target;
  } finally {
    rmSync(partial, { force: true });
    rmSync(work, { recursive: true, force: true });
  }
}

function must(program: string, args: readonly string[]): void {
  const r = spawnSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin`, LC_ALL: 'C.UTF-8' } });
  if (r.status !== 0) throw new Error(`${program} failed: ${(r.error?.message ?? r.stderr).trim().split('\n').slice(-5).join('; ')}`);
}
