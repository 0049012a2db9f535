// The bridges of this host, by name. They are made when the host starts and share nothing.
import { Switch } from './switch.ts';

export class Bridges {
  readonly #switches = new Map<string, Switch>();

  constructor(names: readonly string[]) { for (const name of names) this.#switches.set(name, new Switch(name)); }

  get all(): readonly Switch[] { return [...this.#switches.values()]; }
  find(name: string): Switch | undefined { return this.#switches.get(name); }
}
