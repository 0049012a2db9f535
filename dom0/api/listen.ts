// The API over TCP, for callers elsewhere: with TLS, and limits on what a connection may keep the host waiting for.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Management } from '../management/index.ts';
import type { StateFolder } from '../management/state-folder.ts';
import type { ListenOptions } from '../options.ts';
import type { Access } from './access.ts';
import { keptCertificate, type KeyPair } from './certificate.ts';
import { clientError } from './client-error.ts';
import { refuse } from './consoles.ts';
import { HTTP_OPTIONS, refuseExpectations } from './http-options.ts';

export interface TcpListener {
  readonly url: string; readonly port: number;
  /** SHA-256 of the certificate. */
  readonly fingerprint: string;
  close(): void;
}

const LIMITS = { handshakeTimeout: 10_000, headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: 1000, keepAliveTimeout: 30_000, maxHeaderSize: 16 * 1024 } as const;
const MAX_CONNECTIONS = 2048;

/** @param limits shorter ones for tests @throws Error with what is wrong: files, address */
export async function listenTcp(api: FastifyInstance, { access, management }: { readonly access: Access; readonly management: Management }, options: ListenOptions, state: StateFolder, limits: Partial<typeof LIMITS | Record<keyof typeof LIMITS, number>> = {}): Promise<TcpListener> {
  await api.ready();
  const pair = certificateOf(options, state), server = createServer({ ...LIMITS, ...limits, ...HTTP_OPTIONS, minVersion: 'TLSv1.2', cert: pair.cert, key: pair.key }, (request, response) => { api.routing(request, response); });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('secureConnection', socket => access.acceptRemote(socket));
  server.on('clientError', clientError);
  refuseExpectations(server);
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    try {
      access.admitUpgrade(request);
      api.server.emit('upgrade', request, socket, head);
    } catch (error) { refuse(socket, error); }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', error => reject(new Error(`cannot listen on ${options.host}:${options.port}: ${error.message}`)));
    server.listen(options.port, options.host, resolve);
  });
  server.on('error', () => {});
  const { port } = server.address() as AddressInfo, fingerprint = new X509Certificate(pair.cert).fingerprint256;
  management.audit.add({ who: 'host', what: `listens on ${options.host} port ${port}`, detail: `certificate ${fingerprint}` }).catch(() => {});
  return { url: `https://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`, port, fingerprint, close: () => { server.close(); server.closeAllConnections(); } };
}

/** Those of the options, or the host's own. @throws Error */
function certificateOf({ host, certFile, keyFile }: ListenOptions, state: StateFolder): KeyPair {
  if (certFile === undefined || keyFile === undefined) return keptCertificate(state.certificate, state.key, host, Date.now());
  const pair = { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  try { new X509Certificate(pair.cert); } catch { throw new Error(`${certFile} holds no certificate in PEM form`); }
  return pair;
}
