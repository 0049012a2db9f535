// The one list of what to undo when an action fails half-way.
export class Rollback {
  readonly #steps: { what: string; undo: () => unknown }[] = [];

  add(what: string, undo: () => unknown): void { this.#steps.push({ what, undo }); }

  /** The action succeeded: nothing is undone. */
  commit(): void { this.#steps.length = 0; }

  /** Undoes in reverse order; a step that fails does not stop the others. @returns what could not be undone */
  async run(): Promise<string[]> {
    const failures: string[] = [];
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try { await step.undo(); } catch (error) { failures.push(`${step.what}: ${error instanceof Error ? error.message : String(error)}`); }
    }
    return failures;
  }
}
