// Who else has an image open.
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { foreignWriter, lockImage } from './image-lock.ts';

describe('an image in use', () => {
  let dir: string, path: string, child: ChildProcess | undefined;
  beforeEach(() => { dir = mkdtempSync(join(tmpdir(), 'xenolith-lock-')); path = join(dir, 'disk.img'); writeFileSync(path, 'x'); });
  afterEach(() => { child?.kill('SIGKILL'); child = undefined; rmSync(dir, { recursive: true }); });
  const id = () => statSync(path, { bigint: true });
  /** A process that has it open, and nothing else does. */
  const heldBy = (flags: 'r' | 'r+'): ChildProcess => {
    const fd = openSync(path, flags);
    try { return child = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', fd] }); } finally { closeSync(fd); }
  };

  test('a process that has it open for writing is found, by its id and name', async () => {
    const { pid } = heldBy('r+');
    await expect.poll(() => foreignWriter(id())).toEqual({ pid, name: 'sleep' });
  });
  test('one that reads is not, nor is this one', async () => {
    const { pid } = heldBy('r'), own = openSync(path, 'r+');
    try {
      expect(pid).toBeGreaterThan(0);
      expect(await foreignWriter(id())).toBeUndefined();
    } finally { closeSync(own); }
  });
  test('writers exclude each other and readers; readers share', () => {
    const first = lockImage(path, id(), 'domain 1 xvda', false), second = lockImage(path, id(), 'domain 2 xvda', false);
    expect(() => lockImage(path, id(), 'domain 3 xvda', true)).toThrow('already used read-only by domain 1 xvda');
    first(); second();
    const writer = lockImage(path, id(), 'domain 3 xvda', true);
    expect(() => lockImage(path, id(), 'domain 1 xvda', false)).toThrow('already used read-write by domain 3 xvda');
    writer();
  });
});
