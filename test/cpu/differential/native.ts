// The host's side: compiles ../native/harness.c and hands it batches through a shared file.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BATCH_BYTES, BATCHES, CASE_BYTES, CODE_BYTES } from './layout.ts';

const FLAGS = ['-O2', '-static-pie', '-fPIE', '-nostdlib', '-ffreestanding', '-fno-stack-protector', '-mno-red-zone'];

export class NativeHost {
  private readonly folder: string;
  private readonly fd: number;
  private readonly child: ChildProcess;
  private waiting: { resolve: () => void; reject: (e: Error) => void } | undefined;
  private failure: Error | undefined;

  private constructor(folder: string, fd: number, child: ChildProcess) {
    this.folder = folder; this.fd = fd; this.child = child;
    child.stdout!.on('data', () => { const w = this.waiting; this.waiting = undefined; w?.resolve(); });
    child.on('exit', (code, signal) => {
      this.failure = new Error(`the native harness ended: ${signal ?? `status ${code}`}`);
      this.waiting?.reject(this.failure);
    });
  }

  /** A string tells why this host cannot run cases. */
  static open(): NativeHost | string {
    if (process.arch !== 'x64' || process.platform !== 'linux') return `the host is ${process.platform}/${process.arch}, not linux/x64`;
    const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'cpu-differential-'));
    const program = join(mkdtempSync(join(tmpdir(), 'cpu-harness-')), 'harness'), file = join(folder, 'cases');
    try {
      execFileSync('gcc', [...FLAGS, '-o', program, join(import.meta.dirname, '../native/harness.c')], { stdio: 'pipe' });
    } catch (error) {
      rmSync(folder, { recursive: true });
      return `gcc cannot compile the harness: ${(error as Error).message}`;
    }
    const fd = openSync(file, 'w+');
    ftruncateSync(fd, BATCHES * BATCH_BYTES);
    const child = spawn(program, [file], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.once('spawn', () => rmSync(join(program, '..'), { recursive: true, force: true }));
    return new NativeHost(folder, fd, child);
  }

  /** Starts a batch in one of the BATCHES places, one at a time; the promise is kept when its results can be read. */
  run(place: number, code: Uint8Array, cases: Uint8Array, count: number): Promise<void> {
    writeSync(this.fd, code, 0, CODE_BYTES, place * BATCH_BYTES);
    writeSync(this.fd, cases, 0, count * CASE_BYTES, place * BATCH_BYTES + CODE_BYTES);
    return new Promise((resolve, reject) => {
      if (this.failure) { reject(this.failure); return; }
      this.waiting = { resolve, reject };
      this.child.stdin!.write(new Uint8Array(Uint32Array.of(count | place << 16).buffer));
    });
  }
  results(place: number, into: Uint8Array, count: number): void { readSync(this.fd, into, 0, count * CASE_BYTES, place * BATCH_BYTES + CODE_BYTES); }
  close(): void {
    this.child.removeAllListeners('exit');
    this.child.stdin!.end();
    closeSync(this.fd);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
