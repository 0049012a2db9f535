// A demo guest whose shell is driven over its console, on a host of the test's own.
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { DiskConfig, DomainConfig, VifConfig } from '../../dom0/toolstack/config/schema.ts';
import { answers } from '../../tools/host/ensure-host.ts';
import { Client } from '../../tools/xl/client.ts';

const root = join(import.meta.dirname, '../..');
const GUEST_MAPPING_KIB = 128 * 1024;
const POLL_MS = 50, HOST_LIMIT_MS = 60_000, COMMAND_LIMIT_MS = 480_000;

/** A host in a run folder of its own. */
export class TestHost {
  readonly client: Client;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;

  private constructor(child: ChildProcess, client: Client) {
    this.#child = child; this.client = client;
    this.#ended = new Promise(resolve => { child.on('exit', () => resolve()); });
  }

  static async start(runDir: string, ...args: string[]): Promise<TestHost> {
    const child = spawn(process.execPath, [join(root, 'tools/host/index.ts'), 'host', ...args], { env: { ...process.env, XENOLITH_RUNDIR: runDir }, stdio: ['ignore', 'ignore', 'inherit'] });
    const host = new TestHost(child, new Client(join(runDir, 'api.sock')));
    for (const start = Date.now(); !(await answers(host.client.socketPath)); ) {
      if (Date.now() - start > HOST_LIMIT_MS || child.exitCode !== null) throw new Error('the host does not start');
      await new Promise(resolve => setTimeout(resolve, POLL_MS));
    }
    return host;
  }

  /** Memory of the whole host, without the guests' own (which are the large mappings). */
  async privateMiB(): Promise<number> {
    const mappings = readFileSync(`/proc/${(await this.client.host()).pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
    const kib = (mapping: string, key: string): number => Number(new RegExp(`^${key}: +(\\d+) kB`, 'm').exec(mapping)?.[1] ?? 0);
    return mappings.filter(mapping => kib(mapping, 'Size') < GUEST_MAPPING_KIB).reduce((sum, mapping) => sum + kib(mapping, 'Anonymous'), 0) / 1024;
  }

  /** Ends Dom0's thread wherever it is, and waits until the API answers again. Streams of consoles end with it. */
  async crashDom0(): Promise<void> {
    const times = async (): Promise<number> => (await this.client.dmesg(false)).split('Dom0 is started again').length, before = await times();
    // The answer may be lost with the thread.
    await this.client.debugKeys('C').catch(() => {});
    for (const end = performance.now() + HOST_LIMIT_MS; await times().catch(() => before) === before;) {
      if (performance.now() > end) throw new Error('Dom0 does not come back');
      await new Promise(resolve => setTimeout(resolve, POLL_MS));
    }
  }

  /** Event channels between Dom0 and domains, and grants that Dom0 uses, as the hypervisor counts them. */
  async inUse(): Promise<{ channels: number; granted: number[]; used: number[] }> {
    await this.client.dmesg(true);
    await this.client.debugKeys('eg');
    const lines = (await this.client.dmesg(false)).split('\n');
    const grants = lines.map(l => /(\d+) of \d+ entries granted, in use (\d+) times for reading, (\d+) for writing/.exec(l)?.slice(1).map(Number)).filter(g => g !== undefined);
    return { channels: lines.filter(l => /d0 port \d+: interdomain/.test(l)).length, granted: grants.map(g => g[0]!), used: grants.map(g => g[1]! + g[2]!) };
  }

  /** As a power failure would: no chance to finish anything. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  async stop(): Promise<void> {
    await this.client.shutdownHost(true).catch(() => this.#child.kill('SIGTERM'));
    await this.#ended;
  }
}

/** A raw image as a writable disk. */
export const diskOf = (target: string, vdev = 'xvda'): DiskConfig => ({ target, format: 'raw', vdev, readOnly: false, cdrom: false, discard: false, trusted: true });

export interface GuestFiles { readonly kernel: string; readonly ramdisk: string }

export class GuestShell {
  readonly domid: number;
  readonly name: string;
  readonly #stream: Duplex;
  #text = '';
  #look: () => void = () => {};

  private constructor(domid: number, name: string, stream: Duplex) {
    this.domid = domid; this.name = name; this.#stream = stream;
    stream.on('data', (data: Buffer) => { this.#text += data.toString('latin1'); this.#look(); });
    stream.on('error', () => {});
    stream.on('close', () => { this.#text += '\n(the console has closed)\n'; this.#look(); });
  }

  /** Resolves when the shell is there. */
  static async boot(client: Client, name: string, files: GuestFiles, vifs: readonly VifConfig[], more: Partial<DomainConfig> = {}): Promise<GuestShell> {
    const config: DomainConfig = {
      name, uuid: randomUUID(), type: 'pv', vcpus: 1, maxVcpus: 1, memoryKib: 192 * 1024, maxMemKib: 192 * 1024, ...files, cmdline: 'console=hvc0 quiet ip=off',
      weight: 256, cap: 0, onPoweroff: 'destroy', onReboot: 'destroy', onCrash: 'destroy', onWatchdog: 'destroy', onSoftReset: 'destroy', disks: [], vifs: [...vifs], ...more,
    };
    const { domid } = await client.create(config, true);
    const stream = await client.console(String(domid));
    await client.act(String(domid), 'unpause');
    return GuestShell.over(name, stream, domid);
  }
  /** The demo's shell behind any console, of another machine too. */
  static async over(name: string, stream: Duplex, domid = -1): Promise<GuestShell> {
    const guest = new GuestShell(domid, name, stream);
    await guest.#until(/[#$] (\x1b\[6n)?$/, COMMAND_LIMIT_MS);
    await guest.run('stty -echo; PS1=');
    return guest;
  }

  /** The same shell over another stream of its console. */
  over(stream: Duplex): GuestShell { return new GuestShell(this.domid, this.name, stream); }

  /** Runs a command and returns what it printed. @throws Error with the output if its status is not `status` */
  async run(command: string, status: number | undefined = 0, limitMs = COMMAND_LIMIT_MS): Promise<string> {
    const mark = randomUUID().slice(0, 8);
    this.#text = '';
    // The mark is written in two pieces, so that an echo of the command does not look like its end.
    this.#stream.write(`${command}\necho "<""${mark} $?>"\n`);
    const m = await this.#until(new RegExp(`<${mark} (\\d+)>\\r?\\n`), limitMs);
    const output = this.#text.slice(0, m.index).replaceAll('\r', '');
    if (status !== undefined && Number(m[1]) !== status) throw new Error(`${this.name}: "${command}" ended with ${m[1]}:\n${output}`);
    return output;
  }

  #until(pattern: RegExp, limitMs: number): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => { this.#look = () => {}; reject(new Error(`${this.name}: no ${pattern} in:\n${this.#text.slice(-2000)}`)); }, limitMs);
      this.#look = () => {
        const m = pattern.exec(this.#text);
        if (!m) return;
        this.#look = () => {};
        clearTimeout(timer);
        resolve(m);
      };
      this.#look();
    });
  }
}
