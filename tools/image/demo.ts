// What `npm start` boots: Debian's cloud kernel and the demo's initrd, made once and kept in the cache folder; or the
// person's own kernel, ramdisk or both.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readDeb } from './deb.ts';
import { ImageError, type OnProgress } from './image-error.ts';
import { INITRD_VERSION, makeExecArchive, makeInitrd, WANTED_MODULES } from './initrd.ts';
import { closeModules, moduleName, type ModuleFile } from './modules.ts';
import { PackageCache } from './packages.ts';

export interface DemoOptions {
  readonly cacheDir: string;
  readonly onProgress?: OnProgress;
  /** Run this with sh instead of a shell on the console. */
  readonly execCommand?: string;
  /** Paths of the person's own. */
  readonly kernel?: string;
  readonly ramdisk?: string;
}

export interface Demo {
  readonly kernelPath: string;
  readonly ramdiskPath: string;
  /** Only where the package has a real one (Debian's are stubs). */
  readonly systemMapPath?: string;
  /** With execCommand: what ExecOutput needs to find the output on the console. */
  readonly mark?: string;
  /** Removes files made for this run alone. */
  cleanup(): void;
}

const META_PACKAGE = 'linux-image-cloud-amd64';
const HOW = 'Give a kernel with Xen PV support with --kernel FILE, and its initrd with --ramdisk FILE.';
/** A System.map that is no more than a note where to find it is smaller. */
const REAL_SYSTEM_MAP_BYTES = 4096;

interface Prepared { readonly kernel: string; readonly initrd: string; readonly systemMap?: string }

/** @throws ImageError with a sentence that says how to go on */
export async function prepareDemo(options: DemoOptions): Promise<Demo> {
  if (options.execCommand !== undefined && options.ramdisk !== undefined) {
    throw new ImageError('A command can only be run by the demo\'s own initrd: leave out --ramdisk or --exec.');
  }
  for (const [what, path] of [['kernel', options.kernel], ['ramdisk', options.ramdisk]] as const) {
    if (path !== undefined && !existsSync(path)) throw new ImageError(`The ${what} ${path} does not exist.`);
  }
  const { kernel, ramdisk } = options;
  const done = (kernelPath: string, ramdiskPath: string, extra: Partial<Demo> = {}): Demo => ({ kernelPath, ramdiskPath, cleanup: () => {}, ...extra });
  if (kernel !== undefined && ramdisk !== undefined) return done(kernel, ramdisk);

  const prepared = kernel === undefined ? await debianDemo(options) : await ownKernelDemo(options, kernel);
  const extra = prepared.systemMap === undefined ? {} : { systemMapPath: prepared.systemMap };
  if (ramdisk !== undefined) return done(prepared.kernel, ramdisk, extra);
  if (options.execCommand === undefined) return done(prepared.kernel, prepared.initrd, extra);
  return done(prepared.kernel, '', { ...extra, ...withCommand(options.cacheDir, prepared.initrd, options.execCommand) });
}

/** The initrd with the command's archive behind it, in a file of this run. */
function withCommand(cacheDir: string, initrd: string, command: string): Pick<Demo, 'ramdiskPath' | 'mark' | 'cleanup'> {
  const mark = `xenolith ${randomBytes(12).toString('hex')}`;
  sweep(cacheDir);
  const path = join(cacheDir, `exec-${process.pid}-${randomBytes(4).toString('hex')}.img`);
  writeFileSync(path, Buffer.concat([readFileSync(initrd), makeExecArchive(command, mark)]), { mode: 0o600 });
  return { ramdiskPath: path, mark, cleanup: () => rmSync(path, { force: true }) };
}

/** Removes what runs left that could not clean up after themselves. */
function sweep(cacheDir: string): void {
  for (const file of readdirSync(cacheDir)) {
    const pid = /^exec-(\d+)-[0-9a-f]+\.img$/.exec(file)?.[1];
    if (pid === undefined) continue;
    try {
      process.kill(Number(pid), 0);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') rmSync(join(cacheDir, file), { force: true });
    }
  }
}

async function debianDemo(options: DemoOptions): Promise<Prepared> {
  const onProgress = options.onProgress ?? (() => {});
  const dir = join(options.cacheDir, `demo-${INITRD_VERSION}`);
  const have = existing(dir);
  if (have !== null) return have;
  try {
    const packages = new PackageCache(options.cacheDir, onProgress);
    const kernelDeb = await packages.fetchDependency(META_PACKAGE, 'linux-image-'), busyboxDeb = await packages.fetch('busybox-static');
    onProgress({ stage: 'unpack', detail: basename(kernelDeb).replace(/_.*/, '') });
    const kernel = unpackKernel(kernelDeb);
    onProgress({ stage: 'initrd', detail: 'initrd' });
    const initrd = makeInitrd(busyboxOf(busyboxDeb), closeModules(kernel.modules, WANTED_MODULES));
    return install(dir, { vmlinuz: kernel.vmlinuz, 'initrd.img': initrd, ...(kernel.systemMap === null ? {} : { 'System.map': kernel.systemMap }) });
  } catch (error) {
    if (error instanceof ImageError) throw new ImageError(`No kernel for the demo. ${error.message} ${HOW}`, error);
    throw error;
  }
}

/** A kernel of the person's own gets the demo's initrd, with modules only if the package cache happens to fit. */
async function ownKernelDemo(options: DemoOptions, kernel: string): Promise<Prepared> {
  const onProgress = options.onProgress ?? (() => {});
  const release = kernelRelease(readFileSync(kernel));
  const dir = join(options.cacheDir, `initrd-${INITRD_VERSION}-${(release ?? 'unknown').replace(/[^\w.+-]/g, '_')}`);
  const have = existing(dir, kernel);
  if (have !== null) return have;
  try {
    const packages = new PackageCache(options.cacheDir, onProgress);
    const busybox = busyboxOf(await packages.fetch('busybox-static'));
    const modules = await modulesFor(release, packages);
    onProgress({ stage: 'initrd', detail: modules.length > 0 ? 'initrd' : 'initrd without modules (give one that has the kernel\'s with --ramdisk)' });
    const made = install(dir, { 'initrd.img': makeInitrd(busybox, modules) });
    return { ...made, kernel };
  } catch (error) {
    if (error instanceof ImageError) throw new ImageError(`No initrd for ${kernel}. ${error.message} Give one with --ramdisk FILE.`, error);
    throw error;
  }
}

/** Modules of a Debian kernel release come from its package. Any other kernel is taken to have its drivers built in. */
async function modulesFor(release: string | null, packages: PackageCache): Promise<ModuleFile[]> {
  if (release === null || !/^[\w.+-]+-amd64$/.test(release)) return [];
  try {
    return closeModules(unpackKernel(await packages.fetch(`linux-image-${release}`)).modules, WANTED_MODULES);
  } catch (error) {
    if (error instanceof ImageError) return [];
    throw error;
  }
}

/** The release (`uname -r`) a bzImage names in its setup header, or null. */
export function kernelRelease(bytes: Uint8Array): string | null {
  if (bytes.length < 0x210 || Buffer.from(bytes.subarray(0x202, 0x206)).toString('latin1') !== 'HdrS') return null;
  const at = (bytes[0x20e]! | bytes[0x20f]! << 8) + 0x200;
  return /^[\w.+~-]+/.exec(Buffer.from(bytes.subarray(at, at + 80)).toString('latin1'))?.[0] ?? null;
}

interface KernelFiles { readonly vmlinuz: Uint8Array; readonly systemMap: Uint8Array | null; readonly modules: Map<string, Uint8Array> }

function unpackKernel(path: string): KernelFiles {
  let vmlinuz: Uint8Array | null = null, systemMap: Uint8Array | null = null;
  const modules = new Map<string, Uint8Array>();
  for (const e of inPackage(path)) {
    if (e.type !== 'file') continue;
    if (/^boot\/vmlinuz-/.test(e.path)) vmlinuz = e.data;
    else if (/^boot\/System\.map-/.test(e.path) && e.data.length > REAL_SYSTEM_MAP_BYTES) systemMap = e.data;
    else if (/\.ko(\.\w+)?$/.test(e.path)) modules.set(moduleName(e.path), e.data);
  }
  if (vmlinuz === null) throw new ImageError(`The package ${path} holds no kernel.`);
  return { vmlinuz, systemMap, modules };
}

function busyboxOf(path: string): Uint8Array {
  for (const e of inPackage(path)) if (e.type === 'file' && /^(usr\/)?bin\/busybox$/.test(e.path)) return e.data;
  throw new ImageError(`The package ${path} holds no busybox.`);
}

/** A package's files; a damaged one is removed, so that the next run fetches it again. */
function* inPackage(path: string): ReturnType<typeof readDeb> {
  try {
    yield* readDeb(readFileSync(path));
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    rmSync(path, { force: true });
    throw new ImageError(`The package ${path} is damaged and was removed: ${error.message}. Try again.`, error);
  }
}

function existing(dir: string, ownKernel?: string): Prepared | null {
  const kernel = ownKernel ?? join(dir, 'vmlinuz'), initrd = join(dir, 'initrd.img'), map = join(dir, 'System.map');
  if (!existsSync(kernel) || !existsSync(initrd)) return null;
  return { kernel, initrd, ...(existsSync(map) ? { systemMap: map } : {}) };
}

/** Writes the files into `dir`, all or none: the folder appears under its name when it is whole. */
function install(dir: string, files: Record<string, Uint8Array>): Prepared {
  const partial = `${dir}.partial-${process.pid}`;
  try {
    mkdirSync(partial, { recursive: true });
    for (const [name, data] of Object.entries(files)) writeFileSync(join(partial, name), data);
    rmSync(dir, { recursive: true, force: true });
    renameSync(partial, dir);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw new ImageError(`The cache folder cannot be written: ${(error as Error).message}.`, error);
  }
  return { kernel: join(dir, 'vmlinuz'), initrd: join(dir, 'initrd.img'), ...('System.map' in files ? { systemMap: join(dir, 'System.map') } : {}) };
}
