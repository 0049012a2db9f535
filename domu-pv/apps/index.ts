// Programs of the guest kernel's own, in TypeScript. A module without code names one in a custom section; such a domain
// is configured, built and run as any other.
import type { Kernel } from '../kernel/kernel.ts';
import { appModule, appName } from './app-module.ts';
import { hostile } from './hostile.ts';
import { load } from './load.ts';
import { shell } from './shell.ts';

/** Runs until its work is done; the domain powers off then. @param args as after -- on the command line */
export type App = (kernel: Kernel, args: readonly string[]) => void;
export const APPS: Readonly<Record<string, App>> = { shell, load, hostile };

/** The app that a module names, if it is one of the form above. */
export function appOf(module: Uint8Array): App | undefined {
  const name = appName(module);
  if (!Object.hasOwn(APPS, name)) return undefined;
  const wanted = appModule(name);
  return module.length === wanted.length && wanted.every((b, i) => module[i] === b) ? APPS[name] : undefined;
}
