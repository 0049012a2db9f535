// `xenolith capture`: frames into a file, or to standard output for tcpdump and Wireshark.
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { runFolder } from '../../dom0/api/run-folder.ts';
import { Client } from '../xl/client.ts';
import { CAPTURE_USAGE, parseCaptureOptions } from './options.ts';

/** @returns the exit code */
export async function runCapture(argv: readonly string[]): Promise<number> {
  const options = parseCaptureOptions(argv);
  if (!options) { process.stdout.write(CAPTURE_USAGE); return 0; }
  const client = new Client(runFolder().socket), { vif, bridge, file } = options, stop = new AbortController();
  const frames = await client.capture(vif ? `/v1/domains/${encodeURIComponent(vif.domain)}/vifs/${vif.devid}/capture` : `/v1/bridges/${encodeURIComponent(bridge)}/capture`, stop.signal);
  const out = file === '-' ? process.stdout : createWriteStream(file, { mode: 0o600 });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  let bytes = 0;
  frames.on('data', (data: Buffer) => { bytes += data.length; });
  frames.on('error', () => { /* ended by the person, or with the host */ });
  frames.on('close', () => { if (file !== '-') out.end(); });
  frames.pipe(out, { end: false });
  await (file === '-' ? finished(frames).catch(() => {}) : finished(out));
  process.stderr.write(`xenolith: ${bytes} bytes captured\n`);
  return 0;
}
