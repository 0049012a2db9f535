// A terminal on a domain's console: raw mode, Ctrl-] leaves and the domain goes on.
import type { Duplex } from 'node:stream';
import type { Client } from './client.ts';

const ESCAPE = 0x1d; // Ctrl-]
const CLOSE_LIMIT_MS = 500;

export interface ConsoleIo {
  readonly input: NodeJS.ReadStream; readonly output: NodeJS.WritableStream;
  /** Before each piece of output. */
  readonly onOutput?: () => void;
}
const TERMINAL: ConsoleIo = { input: process.stdin, output: process.stdout };
export type ConsoleEnd = 'left' | 'domain-ended';

/** @returns why it ended: the user left, or the domain's console was closed */
export async function attachConsole(client: Client, ref: string, io = TERMINAL): Promise<ConsoleEnd> {
  return runConsole(await client.console(ref), io);
}

export function runConsole(stream: Duplex, { input, output, onOutput }: ConsoleIo): Promise<ConsoleEnd> {
  const raw = input.isTTY === true;
  return new Promise(resolve => {
    let done = false;
    const finish = (end: ConsoleEnd): void => {
      if (done) return;
      done = true;
      input.off('data', onInput);
      if (raw) input.setRawMode(false);
      input.pause();
      stream.removeAllListeners('data');
      // What was typed before the escape still has to arrive.
      stream.end(() => stream.destroy());
      setTimeout(() => stream.destroy(), CLOSE_LIMIT_MS).unref();
      resolve(end);
    };
    const onInput = (data: Buffer): void => {
      const at = data.indexOf(ESCAPE);
      if (at < 0) { stream.write(data); return; }
      if (at > 0) stream.write(data.subarray(0, at));
      finish('left');
    };
    stream.on('data', (data: Buffer) => { onOutput?.(); if (!output.write(data)) { stream.pause(); output.once('drain', () => stream.resume()); } });
    stream.on('end', () => finish('domain-ended'));
    stream.on('close', () => finish('domain-ended'));
    stream.on('error', () => finish('domain-ended'));
    if (raw) input.setRawMode(true);
    input.on('data', onInput);
    input.resume();
  });
}

/** Stays on a domain's console over reboots: a domain of the same name that comes back soon is attached again. */
export async function followConsole(client: Client, domid: number, name: string, io = TERMINAL): Promise<ConsoleEnd> {
  for (let current = domid; ;) {
    if (await attachConsole(client, String(current), io) === 'left') return 'left';
    const next = await reborn(client, current, name);
    if (next === undefined) return 'domain-ended';
    current = next;
  }
}

const REBIRTH_POLLS = 20, POLL_MS = 250;

async function reborn(client: Client, old: number, name: string): Promise<number | undefined> {
  for (let i = 0; i < REBIRTH_POLLS; i++) {
    const domains = await client.domains().catch(() => []);
    const again = domains.find(d => d.name === name);
    if (again && again.domid !== old) return again.domid;
    if (again?.shutdown || again?.crashed) return undefined;
    if (!again && i >= REBIRTH_POLLS / 2) return undefined;
    await new Promise(resolve => setTimeout(resolve, POLL_MS));
  }
  return undefined;
}
