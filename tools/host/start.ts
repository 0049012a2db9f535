// `xenolith start`: prepares kernel, initrd and disk, starts a host if none runs, makes the domain, attaches to it.
import { randomUUID } from 'node:crypto';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { runFolder } from '../../dom0/api/run-folder.ts';
import type { DomainConfig } from '../../dom0/toolstack/config/schema.ts';
import { prepareDemo, type Demo } from '../image/demo.ts';
import { ensureDisk } from '../image/disk.ts';
import { ExecOutput } from '../image/exec-output.ts';
import { embeddedDemo } from '../image/embedded.ts';
import { ImageError, type Progress as ImageProgress } from '../image/image-error.ts';
import { Client } from '../xl/client.ts';
import { followConsole } from '../xl/console.ts';
import { answers, endIdleHost, ensureHost } from './ensure-host.ts';
import { Progress } from './progress.ts';
import type { StartOptions } from './start-options.ts';

const KIB_PER_MIB = 1024;
const CONSOLE_TAIL_LINES = 20, REASON_LINES = 12;
const EXIT_INTERRUPTED = 130;
const PROGRESS_MS = 1000;

export function cacheFolder(env: Readonly<Record<string, string | undefined>> = process.env): string {
  return env['XENOLITH_CACHE'] || join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'xenolith');
}

/** @returns the exit code */
export async function start(options: StartOptions): Promise<number> {
  const progress = new Progress();
  const folder = runFolder(), hadHost = await answers(folder.socket);
  const client = new Client(folder.socket);
  const name = options.name ?? (options.exec === undefined ? 'demo' : `exec-${process.pid}`);
  if (hadHost && options.exec === undefined) {
    const running = (await client.domains()).find(d => d.name === name && !d.shutdown && !d.crashed);
    if (running) { process.stderr.write(`Domain ${name} runs already.\n`); return converse(client, running.domid, name, false); }
  }
  const demo = options.embedded ? embeddedDemo(cacheFolder()) : await prepareDemo({
    cacheDir: cacheFolder(), onProgress: event => progress.show(progressText(event)),
    ...(options.exec === undefined ? {} : { execCommand: options.exec }), ...(options.kernel === undefined ? {} : { kernel: resolve(options.kernel) }),
    ...(options.ramdisk === undefined ? {} : { ramdisk: resolve(options.ramdisk) }),
  }).catch(error => withoutKernel(options, progress, error));
  try {
    const disk = resolve(options.disk);
    ensureDisk(disk, undefined, event => progress.show(progressText(event)));
    progress.show('starting the host');
    await ensureHost(folder, text => { progress.clear(); if (options.exec === undefined) process.stderr.write(`xenolith: ${text}`); });
    progress.show('making the domain');
    const domain = await client.create(domainFor(options, name, demo, disk), true);
    progress.clear();
    if (options.exec === undefined) return await converse(client, domain.domid, name, true);
    return await execute(client, domain.domid, demo, progress);
  } finally {
    progress.clear();
    demo.cleanup();
    if (!hadHost) await endIdleHost(folder);
  }
}

/** No kernel could be had: a person gets the embedded shell instead, whoever asked for something else gets the reason. */
function withoutKernel(options: StartOptions, progress: Progress, error: unknown): Demo {
  if (!(error instanceof ImageError) || options.exec !== undefined || options.kernel !== undefined || options.ramdisk !== undefined) throw error;
  progress.clear();
  process.stderr.write(`xenolith: ${error.message}\nxenolith: booting the small guest that comes with Xenolith instead\n`);
  return embeddedDemo(cacheFolder());
}

const STAGES: Readonly<Record<ImageProgress['stage'], string>> = {
  lists: 'reading package lists', download: 'downloading', unpack: 'unpacking', initrd: 'making', disk: 'making disk',
};
const progressText = ({ stage, detail, fraction }: ImageProgress): string =>
  `${STAGES[stage]} ${detail}${fraction === undefined ? '' : ` ${Math.round(fraction * 100)}%`}`;

function domainFor(options: StartOptions, name: string, demo: Demo, disk: string): DomainConfig {
  const once = options.exec !== undefined;
  return {
    name, uuid: randomUUID(), type: 'pv', vcpus: options.vcpus, maxVcpus: options.vcpus,
    memoryKib: options.memoryMib * KIB_PER_MIB, maxMemKib: options.memoryMib * KIB_PER_MIB,
    kernel: demo.kernelPath, ...(demo.ramdiskPath ? { ramdisk: demo.ramdiskPath } : {}),
    cmdline: ['console=hvc0 earlyprintk=xen', options.append].filter(Boolean).join(' '), weight: 256, cap: 0,
    onPoweroff: 'destroy', onReboot: once ? 'destroy' : 'restart', onCrash: 'destroy', onWatchdog: 'destroy', onSoftReset: 'soft-reset',
    disks: [{ target: disk, format: 'raw', vdev: 'xvda', readOnly: false, cdrom: false, discard: true, trusted: true }], vifs: [{ trusted: true }],
  };
}

/** A person at a terminal, or lines from a pipe. */
async function converse(client: Client, domid: number, name: string, paused: boolean): Promise<number> {
  if (!process.stdin.isTTY) {
    const stream = await client.console(String(domid));
    if (paused) await client.act(String(domid), 'unpause');
    return untilInterrupted(client, paused ? domid : undefined, () => feedShell(stream));
  }
  process.stderr.write(`Console of domain ${name}. Ctrl-] leaves it running; "xl console ${name}" comes back, "xl shutdown ${name}" ends it.\n`);
  // A kernel says nothing in its first seconds.
  const progress = new Progress(), begin = Date.now();
  const waiting = setInterval(() => progress.show(`booting, ${Math.round((Date.now() - begin) / 1000)} s`), PROGRESS_MS);
  const spoke = (): void => { clearInterval(waiting); progress.clear(); };
  if (!paused) spoke();
  const console = followConsole(client, domid, name, { input: process.stdin, output: process.stdout, onOutput: spoke });
  if (paused) await client.act(String(domid), 'unpause');
  const end = await console.finally(spoke);
  if (end === 'left') process.stderr.write(`\nDomain ${name} goes on.\n`);
  return 0;
}

const CTRL_D = Buffer.from([4]);
/** A shell's prompt at the end of the output; busybox asks for the cursor's place after it. */
const PROMPT = /[#$] (\x1b\[6n)?$/;

/** Standard input to the guest's shell, once it has shown a prompt; the end of input leaves the shell. */
function feedShell(stream: Duplex): Promise<number> {
  return new Promise(resolve => {
    let tail = '', ready = false;
    stream.on('data', (data: Buffer) => {
      process.stdout.write(data);
      if (ready) return;
      tail = (tail + data.toString('latin1')).slice(-64);
      if (!PROMPT.test(tail)) return;
      ready = true;
      process.stdin.on('data', (input: Buffer) => stream.write(input));
      process.stdin.on('end', () => stream.write(CTRL_D));
    });
    stream.on('error', () => {});
    stream.on('close', () => { process.stdin.pause(); resolve(0); });
  });
}

/** Runs until the guest has ended. @returns the command's status */
async function execute(client: Client, domid: number, demo: Demo, progress: Progress): Promise<number> {
  const ref = String(domid), tail: string[] = [''];
  const output = new ExecOutput(demo.mark ?? '', { stdout: bytes => process.stdout.write(bytes), stderr: bytes => process.stderr.write(bytes) });
  const stream = await client.console(ref);
  const ended = new Promise<void>(done => { stream.on('close', done); });
  stream.on('error', () => {});
  stream.on('data', (data: Buffer) => {
    output.feed(data);
    if (output.started) { progress.clear(); return; }
    const lines = (tail.pop() + data.toString('latin1')).split(/\r?\n/);
    tail.push(...lines);
    tail.splice(0, tail.length - CONSOLE_TAIL_LINES);
    progress.show(`booting: ${tail.findLast(line => line.trim() !== '') ?? ''}`);
  });
  await client.act(ref, 'unpause');
  return untilInterrupted(client, domid, interrupted => ended.then(() => {
    progress.clear();
    if (interrupted()) return EXIT_INTERRUPTED;
    if (output.status !== null) return output.status;
    return client.dmesg(false).catch(() => '').then(ring => {
      const reasons = ring.split('\n').filter(line => new RegExp(`\\bd${domid}(v\\d+)?\\b`).test(line)).slice(-REASON_LINES);
      process.stderr.write(['xenolith: the domain ended before the command did. Its console\'s last lines:', ...tail, ...(reasons.length > 0 ? ['The hypervisor said:', ...reasons] : []), ''].join('\n'));
      return 1;
    });
  }));
}

/** A signal destroys the domain that was made for this run, if one was. */
async function untilInterrupted(client: Client, domid: number | undefined, work: (interrupted: () => boolean) => Promise<number>): Promise<number> {
  let wasInterrupted = false;
  const interrupted = new Promise<'interrupted'>(done => { for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => { wasInterrupted = true; done('interrupted'); }); });
  const result = await Promise.race([work(() => wasInterrupted), interrupted]);
  if (result !== 'interrupted') return result;
  if (domid !== undefined) await client.destroy(String(domid)).catch(() => {});
  return EXIT_INTERRUPTED;
}
