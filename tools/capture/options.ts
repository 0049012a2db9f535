// Options of `xenolith capture`.
export class CaptureUsageError extends Error {}

export const CAPTURE_USAGE = `Usage: xenolith capture [--bridge BRIDGE | --vif DOMAIN[.DEVID]] FILE

Writes what passes a bridge (default xenbr0), or one interface, into FILE as pcap until Ctrl-C. FILE "-" is standard
output: xenolith capture - | tcpdump -r - -n
`;

export interface CaptureOptions { readonly bridge: string; readonly vif: { readonly domain: string; readonly devid: number } | undefined; readonly file: string }

/** Undefined when help is asked for. @throws CaptureUsageError */
export function parseCaptureOptions(argv: readonly string[]): CaptureOptions | undefined {
  const values: Record<string, string> = {}, files: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!, match = /^--(bridge|vif)(?:=(.*))?$/.exec(word);
    if (word === '--help' || word === '-h') return undefined;
    if (match) {
      const value = match[2] ?? argv[++i];
      if (!value) throw new CaptureUsageError(`--${match[1]} needs a value`);
      values[match[1]!] = value;
    } else if (word.startsWith('-') && word !== '-') throw new CaptureUsageError(`unknown option ${word}`);
    else files.push(word);
  }
  if (files.length !== 1) throw new CaptureUsageError(files.length === 0 ? 'into which file? "-" is standard output' : 'one file at a time');
  if (values['bridge'] !== undefined && values['vif'] !== undefined) throw new CaptureUsageError('--bridge or --vif, not both');
  const vif = values['vif'] === undefined ? undefined : /^(.+?)(?:\.(\d+))?$/.exec(values['vif'])!;
  return { bridge: values['bridge'] ?? 'xenbr0', vif: vif && { domain: vif[1]!, devid: Number(vif[2] ?? 0) }, file: files[0]! };
}
