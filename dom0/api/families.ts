// Prometheus's text format (version 0.0.4).

export type Labels = Readonly<Record<string, string | number>>;

/** Families in the order they were first named; samples of one stand together, as the format asks. */
export class Families {
  readonly #families = new Map<string, { readonly type: string; readonly help: string; readonly lines: string[] }>();
  add(name: string, type: 'gauge' | 'counter', help: string, value: number, labels: Labels = {}): void { this.#family(name, type, help).push(`${name}${labelsText(labels)} ${value}`); }
  histogram(name: string, help: string, { bucketsSec, counts, sumSec }: { readonly bucketsSec: readonly number[]; readonly counts: readonly number[]; readonly sumSec: number }): void {
    const lines = this.#family(name, 'histogram', help);
    let total = 0;
    counts.forEach((count, i) => { total += count; lines.push(`${name}_bucket${labelsText({ le: bucketsSec[i] ?? '+Inf' })} ${total}`); });
    lines.push(`${name}_sum ${sumSec}`, `${name}_count ${total}`);
  }
  text(): string { return [...this.#families].map(([name, { type, help, lines }]) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('\n')}\n`).join(''); }
  #family(name: string, type: string, help: string): string[] {
    let family = this.#families.get(name);
    if (!family) this.#families.set(name, family = { type, help, lines: [] });
    return family.lines;
  }
}

function labelsText(labels: Labels): string {
  const all = Object.entries(labels).map(([name, value]) => `${name}="${String(value).replace(/[\\"\n]/g, char => char === '\n' ? '\\n' : `\\${char}`)}"`);
  return all.length > 0 ? `{${all.join(',')}}` : '';
}
