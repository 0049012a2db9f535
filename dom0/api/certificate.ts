// A certificate that the host signs itself, for its API over TCP: X.509 v3 (RFC 5280) with an ECDSA key on P-256. Node reads
// certificates but makes none; written out, in DER (X.690), they are short.
import { createPrivateKey, generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';

export interface KeyPair { /** PEM */ readonly cert: string; readonly key: string }

const YEARS = 10, RENEW_DAYS = 30, DAY_MS = 86_400_000;
const TAG = { boolean: 1, integer: 2, bits: 3, octets: 4, oid: 6, utf8: 12, utcTime: 23, generalTime: 24, sequence: 0x30, set: 0x31 } as const;
/** [n], constructed and primitive. */
const context = (n: number): number => 0xa0 | n, contextBytes = (n: number): number => 0x80 | n;
const OID = { ecdsaSha256: '1.2.840.10045.4.3.2', commonName: '2.5.4.3', keyUsage: '2.5.29.15', altName: '2.5.29.17', basic: '2.5.29.19', extendedUsage: '2.5.29.37', serverAuth: '1.3.6.1.5.5.7.3.1' } as const;

/** The pair in these files; made where there is none, or it is not for `host`, or about to run out. @returns and whether it was made */
export function keptCertificate(certFile: string, keyFile: string, host: string, nowMs: number): KeyPair & { readonly fresh: boolean } {
  if (existsSync(certFile) && existsSync(keyFile)) {
    const cert = readFileSync(certFile, 'utf8'), key = readFileSync(keyFile, 'utf8');
    if (serves({ cert, key }, host, nowMs)) return { cert, key, fresh: false };
  }
  const pair = selfSigned([...new Set([...isAny(host) ? [] : [host], ...ownNames()])], nowMs);
  for (const [file, text] of [[keyFile, pair.key], [certFile, pair.cert]] as const) {
    writeFileSync(`${file}.new`, text, { mode: 0o600, flush: true });
    renameSync(`${file}.new`, file);
  }
  return { ...pair, fresh: true };
}

function serves({ cert, key }: KeyPair, host: string, nowMs: number): boolean {
  try {
    const read = new X509Certificate(cert);
    const named = isAny(host) || (isIP(host) ? read.checkIP(host) : read.checkHost(host)) !== undefined;
    return named && read.checkPrivateKey(createPrivateKey(key)) && Date.parse(read.validTo) > nowMs + RENEW_DAYS * DAY_MS;
  } catch { return false; }
}
const isAny = (host: string): boolean => host === '0.0.0.0' || host === '::';
const ownNames = (): string[] => ['localhost', hostname(), ...Object.values(networkInterfaces()).flatMap(all => (all ?? []).map(({ address }) => address)).filter(address => !address.startsWith('fe80:'))];

/** @param names that it is for: host names and addresses */
export function selfSigned(names: readonly string[], nowMs: number): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = sequence(oid(OID.ecdsaSha256)), name = sequence(der(TAG.set, sequence(oid(OID.commonName), der(TAG.utf8, Buffer.from(`xenolith on ${hostname()}`.slice(0, 64))))));
  const body = sequence(
    der(context(0), der(TAG.integer, Buffer.from([2]))), der(TAG.integer, serialNumber()), algorithm, name, sequence(time(nowMs - DAY_MS), time(nowMs + YEARS * 365 * DAY_MS)), name, publicKey.export({ type: 'spki', format: 'der' }),
    der(context(3), sequence(
      extension(OID.basic, true, sequence()), extension(OID.keyUsage, true, der(TAG.bits, Buffer.from([7, 0x80]))),
      extension(OID.extendedUsage, false, sequence(oid(OID.serverAuth))), extension(OID.altName, false, sequence(...names.map(altName))),
    )),
  );
  const whole = sequence(body, algorithm, der(TAG.bits, Buffer.from([0]), sign('sha256', body, { key: privateKey, dsaEncoding: 'der' })));
  const cert = `-----BEGIN CERTIFICATE-----\n${whole.toString('base64').match(/.{1,64}/g)!.join('\n')}\n-----END CERTIFICATE-----\n`;
  return { cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string };
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts), { length } = content;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}
const sequence = (...parts: readonly Uint8Array[]): Buffer => der(TAG.sequence, ...parts);
/** Its first bit would be a sign, and a first byte of zero one too many. */
const serialNumber = (): Buffer => { const bytes = randomBytes(16); bytes[0] = bytes[0]! & 0x7f | 0x40; return bytes; };
const extension = (id: string, critical: boolean, value: Buffer): Buffer => sequence(oid(id), ...(critical ? [der(TAG.boolean, Buffer.from([0xff]))] : []), der(TAG.octets, value));
const altName = (name: string): Buffer => isIP(name) ? der(contextBytes(7), addressBytes(name)) : der(contextBytes(2), Buffer.from(name, 'ascii'));

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number), bytes = [first * 40 + second];
  for (const arc of rest) {
    const sevens = [arc & 0x7f];
    for (let high = arc >>> 7; high > 0; high >>>= 7) sevens.unshift(0x80 | high & 0x7f);
    bytes.push(...sevens);
  }
  return der(TAG.oid, Buffer.from(bytes));
}

/** Two digits of the year up to 2049, four from then on. */
function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, ''), short = Number(text.slice(0, 4)) < 2050;
  return der(short ? TAG.utcTime : TAG.generalTime, Buffer.from(short ? text.slice(2) : text, 'ascii'));
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  // WHATWG URLs write every IPv6 address in one way: no dots, at most one "::".
  const [front = '', back] = new URL(`http://[${address.replace(/%.*/, '')}]`).hostname.slice(1, -1).split('::');
  const groups = (part: string | undefined): string[] => (part ?? '').split(':').filter(Boolean), head = groups(front), tail = groups(back);
  const all = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  return Buffer.from(all.flatMap(group => { const n = parseInt(group, 16); return [n >> 8, n & 0xff]; }));
}
