// The machines that are compared. Each boots the same kernel, initrd and root file system and carries out commands
// that are written to its console; times are taken here, outside, by one clock for all.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runFolder } from '../../dom0/api/run-folder.ts';
import { answers } from '../../tools/host/ensure-host.ts';

const ROOT = join(import.meta.dirname, '../..');
const START_LIMIT_MS = 400_000, COMMAND_LIMIT_MS = 400_000;
export const MEMORY_MIB = 512;

export interface Files { readonly kernel: string; readonly initrd: string; readonly image: string }
export interface Outcome { readonly seconds: number; readonly output: string; readonly status: number }

/** A console as lines of text, with waiting. */
class Console {
  private text = '';
  private waiting: (() => void) | undefined;
  private readonly child: ChildProcess;
  private ended = false;
  constructor(child: ChildProcess) {
    this.child = child;
    for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding('utf8').on('data', (s: string) => { this.text += s; this.waiting?.(); });
    child.on('close', () => { this.ended = true; this.waiting?.(); });
  }
  write(text: string): void { this.child.stdin!.write(text); }
  /** What came before the pattern's end, which is taken off. @throws Error when it does not come */
  async until(pattern: RegExp, limitMs: number): Promise<RegExpExecArray> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const match = pattern.exec(this.text);
      if (match) { this.text = this.text.slice(match.index + match[0].length); return match; }
      const left = deadline - performance.now();
      if (left <= 0 || this.ended) throw new Error(`no ${pattern} on the console; it ends with: ${JSON.stringify(this.text.slice(-400))}`);
      await new Promise<void>(resolve => { const t = setTimeout(resolve, Math.min(left, 60_000)); this.waiting = () => { clearTimeout(t); resolve(); }; });
    }
  }
  get all(): string { return this.text; }
}

export abstract class Machine {
  abstract readonly name: string;
  readonly native: boolean = false;
  protected readonly dir = mkdtempSync(join(tmpdir(), 'xenolith-bench-'));
  protected console!: Console;
  /** @param append further words for the kernel's command line */
  protected abstract launch(append: string): ChildProcess;
  protected abstract halt(): void;

  /** Boots to the first line of the kernel's first program. @returns seconds */
  async bootToInit(): Promise<number> { return this.timed('init=/bench/agent', /@ready\r?\n/); }
  /** Boots to systemd's login prompt and ends the machine. @returns seconds */
  async bootToLogin(): Promise<number> {
    const seconds = await this.timed('systemd.show_status=0', /login: /);
    this.halt();
    return seconds;
  }
  end(): void { this.halt(); }
  private async timed(append: string, mark: RegExp): Promise<number> {
    const begin = performance.now();
    this.console = new Console(this.launch(append));
    await this.console.until(mark, START_LIMIT_MS);
    return (performance.now() - begin) / 1000;
  }
  async run(command: string): Promise<Outcome> {
    const begin = performance.now();
    this.console.write(`${command}\n`);
    const m = await this.console.until(/([\s\S]*?)@end (\d+)\r?\n/, COMMAND_LIMIT_MS);
    return { seconds: (performance.now() - begin) / 1000, output: m[1]!.replaceAll('\r', ''), status: Number(m[2]) };
  }
  stop(): void { this.halt(); this.remove(); }
  protected remove(): void { rmSync(this.dir, { recursive: true, force: true }); }
  protected copy(image: string): string {
    const disk = join(this.dir, 'root.img');
    if (!existsSync(disk)) spawnSync('cp', ['--sparse=always', image, disk]);
    const scratch = join(this.dir, 'scratch.img');
    if (!existsSync(scratch)) spawnSync('dd', ['if=/dev/urandom', `of=${scratch}`, 'bs=1M', 'count=128', 'status=none']);
    return disk;
  }
}

export class Xenolith extends Machine {
  readonly name = 'xenolith';
  private readonly files: Files;
  private host: ChildProcess | undefined;
  constructor(files: Files) { super(); this.files = files; }
  private env(): NodeJS.ProcessEnv { return { ...process.env, XENOLITH_RUNDIR: join(this.dir, 'run') }; }

  /** A host that runs already is not part of a guest's boot, as QEMU's program file is not. */
  async startHost(): Promise<void> {
    mkdirSync(join(this.dir, 'run'), { recursive: true });
    this.host = spawn(process.execPath, [...process.execArgv, join(ROOT, 'tools/host/index.ts'), 'host'], { env: this.env(), stdio: 'ignore' });
    // Not by asking with xl, which would start another host.
    const { socket } = runFolder(this.env()), host = this.host;
    for (let n = 0; n < 600 && host.exitCode === null; n++) {
      if (await answers(socket)) return;
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    throw new Error('the host did not start');
  }
  protected launch(append: string): ChildProcess {
    const config = join(this.dir, 'bench.cfg'), disk = this.copy(this.files.image);
    writeFileSync(config, `name = "bench"\nkernel = "${this.files.kernel}"\nramdisk = "${this.files.initrd}"\nmemory = ${MEMORY_MIB}\n`
      + `disk = [ '${disk},raw,xvda,rw', '${join(this.dir, 'scratch.img')},raw,xvdb,rw' ]\nextra = "console=hvc0 root=/dev/xvda ${append}"\n`);
    return spawn(process.execPath, [join(ROOT, 'tools/xl/index.ts'), 'create', '-c', config], { env: this.env(), stdio: ['pipe', 'pipe', 'pipe'] });
  }
  protected halt(): void { spawnSync(process.execPath, [join(ROOT, 'tools/xl/index.ts'), 'destroy', 'bench'], { env: this.env() }); }
  override stop(): void {
    this.host?.kill('SIGKILL');
    this.remove();
  }
}

/** Of the models tried with QEMU 7.2 (Nehalem, Haswell, EPYC-Rome, max) the one that programs are fastest on: AES is a helper in C there, and Linux needs no page-table isolation. */
export const QEMU_CPU = 'EPYC-Rome';
export const qemuVersion = (): string | null => /version (\S+)/.exec(spawnSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' }).stdout ?? '')?.[1] ?? null;

export class QemuTcg extends Machine {
  readonly name = 'qemu tcg';
  private readonly files: Files;
  private readonly cpu: string;
  private child: ChildProcess | undefined;
  /** @param cpu one of `qemu-system-x86_64 -cpu help` */
  constructor(files: Files, cpu: string) { super(); this.files = files; this.cpu = cpu; }
  protected launch(append: string): ChildProcess {
    const disk = this.copy(this.files.image), drive = (file: string): string[] => ['-drive', `file=${file},format=raw,if=virtio,cache=writeback`];
    this.child = spawn('qemu-system-x86_64', [
      '-accel', 'tcg', '-cpu', this.cpu, '-smp', '1', '-m', String(MEMORY_MIB), '-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio',
      '-kernel', this.files.kernel, '-initrd', this.files.initrd, '-append', `console=ttyS0 root=/dev/vda ${append}`, ...drive(disk), ...drive(join(this.dir, 'scratch.img')), '-no-reboot',
    ], { stdio: ['pipe', 'pipe', 'pipe'] });
    return this.child;
  }
  protected halt(): void { this.child?.kill('SIGKILL'); this.child = undefined; }
}

/** The same programs on the host's own processor, in the same root file system. */
export class Native extends Machine {
  readonly name = 'native';
  override readonly native = true;
  private readonly image: string;
  private child: ChildProcess | undefined;
  constructor(image: string) { super(); this.image = image; }
  protected launch(): ChildProcess {
    const tree = join(this.dir, 'root');
    mkdirSync(tree);
    spawnSync('debugfs', ['-R', `rdump / ${tree}`, this.image], { env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` } });
    const enter = 'mount --rbind /dev "$0/dev"; mount --rbind /proc "$0/proc"; mount -t tmpfs tmpfs "$0/tmp"; exec chroot "$0" /bin/sh /bench/agent';
    this.child = spawn('unshare', ['--mount', '--map-root-user', 'sh', '-c', enter, tree], { stdio: ['pipe', 'pipe', 'pipe'] });
    return this.child;
  }
  override bootToLogin(): Promise<number> { return Promise.resolve(NaN); }
  protected halt(): void { this.child?.kill('SIGKILL'); this.child = undefined; }
}
