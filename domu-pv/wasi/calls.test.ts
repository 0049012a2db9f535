// System calls on a kernel of which there is no more than they ask for.
import { expect, test } from 'vitest';
import type { Console } from '../kernel/console.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Stack } from '../net/stack.ts';
import { wasiCalls } from './calls.ts';
import { ERRNO } from './errno.ts';
import { type Received, SocketNode } from './socket-node.ts';

const STDIN = 0, SOCKET = 3, NONBLOCK = 4, VECTORS = 0, OUT = 512, DATA = 1024;

/** @param lines that were typed; reading more would wait for ever @param received what the socket gives, each as one read */
function program(lines: string[], received: string[] = []) {
  const bytes = new Uint8Array(new SharedArrayBuffer(65536)), view = new DataView(bytes.buffer);
  const console = {
    get hasInput() { return lines.length > 0; },
    readLine: (maxBytes: number) => {
      const line = lines.shift();
      if (line === undefined) throw new Error('it would wait for ever');
      if (line.length > maxBytes) lines.unshift(line.slice(maxBytes));
      return Buffer.from(line.slice(0, maxBytes));
    },
  } as unknown as Console;
  const kernel = { vcpu: { bytes }, console, events: { critical: (work: () => unknown) => work(), runDeferred: () => {} } } as unknown as Kernel;
  class Socket extends SocketNode {
    override receive(byteCount: number): Received {
      const next = received.shift();
      if (next === undefined) throw new Error('it would wait for ever');
      return { data: Buffer.from(next.slice(0, byteCount)), isCut: next.length > byteCount };
    }
  }
  const sockets = [new Socket(kernel, {} as Stack, 'datagram')];
  const calls = wasiCalls(kernel, { arguments: [], environment: [], root: undefined, sockets, network: () => ({}) as Stack, exit: () => { throw new Error('exit'); } }, 'wasi_snapshot_preview1');
  const call = (name: string, ...args: number[]): number => (calls[name] as (...args: number[]) => number)(...args);
  /** fd_read into vectors of these sizes: what came, or the error. */
  const read = (fd: number, ...sizes: number[]): string | number => {
    let at = DATA;
    sizes.forEach((size, i) => { view.setUint32(VECTORS + 8 * i, at, true); view.setUint32(VECTORS + 8 * i + 4, size, true); at += size; });
    const errno = call('fd_read', fd, VECTORS, sizes.length, OUT);
    return errno || Buffer.from(bytes.slice(DATA, DATA + view.getUint32(OUT, true))).toString();
  };
  return { read, call, lines };
}

test('a read of several vectors takes one line, or one end of input', () => {
  const { read, lines } = program(['abcd', '', 'efghij', 'kl', '']);
  expect([read(STDIN, 4, 10), read(STDIN, 4, 4)]).toEqual(['abcd', '']);
  expect([read(STDIN, 0, 2, 3), read(STDIN, 0, 2, 3), read(STDIN, 0), read(STDIN, 1, 1), read(STDIN, 4)]).toEqual(['efghi', 'j', '', 'kl', '']);
  expect(lines).toEqual([]);
});

test('a read of several vectors takes what a socket has, or one datagram', () => {
  const { read } = program([], ['abcd', 'efghij', 'kl']);
  expect([read(SOCKET, 4, 10), read(SOCKET, 3, 2), read(SOCKET, 1, 1)]).toEqual(['abcd', 'efghi', 'kl']);
});

test('a terminal that is not to block says so where nothing is there', () => {
  const { read, call, lines } = program([]);
  expect(call('fd_fdstat_set_flags', STDIN, NONBLOCK)).toBe(0);
  expect(read(STDIN, 4, 4)).toBe(ERRNO.AGAIN);
  lines.push('ab', '');
  expect([read(STDIN, 4), read(STDIN, 4), read(STDIN, 4)]).toEqual(['ab', '', ERRNO.AGAIN]);
  expect(read(1, 0)).toBe('');
  call('fd_fdstat_set_flags', STDIN, 0);
  expect(() => read(STDIN, 4)).toThrow('for ever');
});
