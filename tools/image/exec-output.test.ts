import { describe, expect, it } from 'vitest';
import { ExecOutput } from './exec-output.ts';

const CONSOLE = Buffer.concat([
  Buffer.from('[    0.1] Linux version\r\nRun /init\r\n\n<<m stdout>>out\n<<other status 3>> <<m st'), Buffer.from([0, 0xff, 0x0d]),
  Buffer.from('<<m stderr>>oops\n<<m status 42>>\n[    2.0] reboot: Power down\r\n'),
]);

function run(chunk: number): { out: Buffer; err: string; status: number | null; started: boolean } {
  const out: Uint8Array[] = [], err: Uint8Array[] = [];
  const e = new ExecOutput('m', { stdout: (b) => out.push(Buffer.from(b)), stderr: (b) => err.push(Buffer.from(b)) });
  for (let at = 0; at < CONSOLE.length; at += chunk) e.feed(CONSOLE.subarray(at, at + chunk));
  return { out: Buffer.concat(out), err: Buffer.concat(err).toString(), status: e.status, started: e.started };
}

describe('ExecOutput', () => {
  it.each([1, 2, 7, 19, 1000])('in pieces of %i bytes', (chunk) => {
    const r = run(chunk);
    expect(r.out.equals(Buffer.concat([Buffer.from('out\n<<other status 3>> <<m st'), Buffer.from([0, 0xff, 0x0d])]))).toBe(true);
    expect(r).toMatchObject({ err: 'oops\n', status: 42, started: true });
  });
  it('passes output on while the command runs', () => {
    let out = '';
    const e = new ExecOutput('m', { stdout: (b) => { out += Buffer.from(b).toString(); }, stderr: () => {} });
    e.feed(Buffer.from('boot'));
    expect(e.started).toBe(false);
    e.feed(Buffer.from('<<m stdout>>0123456789abcdef'));
    expect(out).toBe('01234');
    expect(e.status).toBeNull();
  });
});
