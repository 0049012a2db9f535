// Fetching Debian packages as an ordinary user, through apt, into the user's cache folder. Where the system's
// package lists are missing, stale or for another architecture, private lists in the cache folder are used.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ImageError, type OnProgress } from './image-error.ts';

const ARCHITECTURE = 'amd64';

/** $XDG_CACHE_HOME or ~/.cache, and our folder in it. */
export function defaultCacheDir(): string {
  const base = process.env['XDG_CACHE_HOME'];
  return join(base !== undefined && base.startsWith('/') ? base : join(homedir(), '.cache'), 'xenolith');
}

interface Run { readonly status: number; readonly stdout: string; readonly stderr: string }

/** Runs a program; `onStatus` gets each line of its file descriptor 3. Never throws for a program that fails. */
function run(program: string, args: readonly string[], cwd: string, onStatus?: (line: string) => void): Promise<Run> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' } });
    let stdout = '', stderr = '', status = '';
    child.stdout!.setEncoding('utf8').on('data', (s: string) => { stdout += s; });
    child.stderr!.setEncoding('utf8').on('data', (s: string) => { stderr += s; });
    (child.stdio[3] as NodeJS.ReadableStream).setEncoding('utf8').on('data', (s: string) => {
      const lines = (status + s).split('\n');
      status = lines.pop()!;
      for (const l of lines) onStatus?.(l);
    });
    child.on('error', (error) => resolve({ status: 127, stdout, stderr: error.message }));
    child.on('close', (code) => resolve({ status: code ?? 1, stdout, stderr }));
  });
}

/** The lines of apt's stderr a person can use. */
const reason = (r: Run): string => r.status === 127
  ? 'apt-get is not installed'
  : r.stderr.split('\n').filter((l) => /^E:/.test(l)).map((l) => l.slice(2).trim()).join('; ') || `apt ended with status ${r.status}`;

export class PackageCache {
  readonly dir: string;
  private readonly onProgress: OnProgress;
  /** Options that make apt use the private lists, once they are wanted. */
  private aptOptions: string[] = [];

  constructor(cacheDir: string, onProgress: OnProgress = () => {}) {
    this.dir = join(cacheDir, 'packages');
    this.onProgress = onProgress;
    mkdirSync(this.dir, { recursive: true });
  }

  /** The newest cached file of a package, or null. */
  cached(name: string): string | null {
    const files = readdirSync(this.dir).filter((f) => f.startsWith(`${name}_`) && f.endsWith('.deb'));
    const newest = files.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
    return newest === undefined ? null : join(this.dir, newest);
  }

  /** The package a meta package depends on whose name starts with `prefix`; null if apt does not know it. */
  async dependency(meta: string, prefix: string): Promise<string | null> {
    const ask = async (): Promise<string | null> => {
      const shown = await run('apt-cache', [...this.aptOptions, 'show', '--no-all-versions', meta], this.dir);
      return new RegExp(`^Depends:.*?\\b(${prefix}[^\\s,]*)`, 'm').exec(shown.stdout)?.[1] ?? null;
    };
    if (process.arch !== 'x64') await this.usePrivateLists();
    const found = await ask();
    if (found !== null || !(await this.usePrivateLists())) return found;
    return await ask();
  }

  /** Path of the newest package a meta package stands for. @throws ImageError */
  async fetchDependency(meta: string, prefix: string): Promise<string> {
    const name = await this.dependency(meta, prefix);
    if (name === null) throw new ImageError(`apt does not know the Debian package ${meta}.`);
    try {
      return await this.fetch(name);
    } catch (error) {
      // Lists that are too old name versions that are gone; by now fetch has tried fresh ones.
      const fresh = await this.dependency(meta, prefix);
      if (fresh === null || fresh === name) throw error;
      return await this.fetch(fresh);
    }
  }

  /** Path of the package's file, downloaded if it is not cached. @throws ImageError saying why not */
  async fetch(name: string): Promise<string> {
    const have = this.cached(name);
    if (have !== null) return have;
    if (process.arch !== 'x64') await this.usePrivateLists();
    let result = await this.download(name);
    if (typeof result !== 'string' && (await this.usePrivateLists())) result = await this.download(name);
    if (typeof result === 'string') return result;
    throw new ImageError(`The Debian package ${name} cannot be downloaded: ${reason(result)}.`);
  }

  /** Downloads into a folder of its own first, so that the cache never holds half a file. */
  private async download(name: string): Promise<string | Run> {
    this.onProgress({ stage: 'download', detail: name, fraction: 0 });
    let told = 0;
    const partial = join(this.dir, `.partial-${process.pid}-${name}`);
    mkdirSync(partial, { recursive: true });
    try {
      const r = await run('apt-get', [...this.aptOptions, '-q', '-o', 'APT::Status-Fd=3', 'download', name], partial, (line) => {
        const percent = /^dlstatus:[^:]*:([\d.]+):/.exec(line);
        const fraction = Number(percent?.[1] ?? 0) / 100;
        if (fraction - told < 0.005) return;
        told = fraction;
        this.onProgress({ stage: 'download', detail: name, fraction });
      });
      const file = readdirSync(partial).find((f) => f.endsWith('.deb'));
      if (r.status !== 0 || file === undefined) return r;
      renameSync(join(partial, file), join(this.dir, file));
      if (told < 1) this.onProgress({ stage: 'download', detail: name, fraction: 1 });
      return join(this.dir, file);
    } finally {
      rmSync(partial, { recursive: true, force: true });
    }
  }

  /** Switches to lists of our own, fetching them; false if they are in use already or cannot be fetched. */
  private async usePrivateLists(): Promise<boolean> {
    if (this.aptOptions.length > 0) return false;
    const apt = join(this.dir, '..', 'apt'), state = join(apt, 'state'), cache = join(apt, 'cache');
    for (const d of [join(state, 'lists', 'partial'), join(cache, 'archives', 'partial')]) mkdirSync(d, { recursive: true });
    const status = '/var/lib/dpkg/status';
    const options = {
      'Dir::State': state, 'Dir::Cache': cache, 'Dir::State::status': existsSync(status) ? status : '/dev/null',
      'APT::Architecture': ARCHITECTURE, 'APT::Architectures': ARCHITECTURE, 'Acquire::Languages': 'none',
    };
    const args = Object.entries(options).flatMap(([k, v]) => ['-o', `${k}=${v}`]);
    this.onProgress({ stage: 'lists', detail: 'package lists' });
    const r = await run('apt-get', [...args, '-q', 'update'], this.dir);
    if (r.status !== 0) return false;
    this.aptOptions = args;
    return true;
  }
}
