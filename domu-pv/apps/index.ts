// Programs of the guest kernel's own, in TypeScript. A module without code names one in a custom section; such a domain
// is configured, built and run as any other.
import type { Kernel } from '../kernel/kernel.ts';
import { hostile } from './hostile.ts';
import { load } from './load.ts';
import { shell } from './shell.ts';

/** Runs until its work is done; the domain powers off then. @param args as after -- on the command line */
export type App = (kernel: Kernel, args: readonly string[]) => void;
export const APPS: Readonly<Record<string, App>> = { shell, load, hostile };

const SECTION = 'xenolith:app', HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

/** A module that names an app. */
export function appModule(name: string): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(name), section = new TextEncoder().encode(SECTION);
  return Uint8Array.from([...HEADER, 0, 1 + section.length + text.length, section.length, ...section, ...text]);
}
/** The app that a module names, if it is one of the form above. */
export function appOf(module: Uint8Array): App | undefined {
  const start = HEADER.length + 3 + SECTION.length, name = new TextDecoder().decode(module.slice(start, HEADER.length + 2 + (module[HEADER.length + 1] ?? 0)));
  if (!Object.hasOwn(APPS, name)) return undefined;
  const wanted = appModule(name);
  return module.length === wanted.length && wanted.every((b, i) => module[i] === b) ? APPS[name] : undefined;
}
