// The thread of the control domain.
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import pino from 'pino';
import { attachDom0 } from '../hypervisor/boot/dom0.ts';
import { startDom0 } from './dom0.ts';
import { logContext } from './log-context.ts';
import type { Dom0Message, Dom0Options } from './options.ts';
import { ConsoleTable } from './toolstack/console-table.ts';
import { DomainMemory } from './toolstack/domain-memory.ts';
import { messageOf } from './toolstack/errors.ts';
import { XenstoreServer } from './xenstore/server.ts';

const hypercalls = attachDom0(workerData), options = hypercalls.options as Dom0Options;
const [storeArea, domainArea] = hypercalls.handover;
const logs = join(options.runDir, 'log');
const log = pino({ base: null, mixin: () => ({ ...logContext() }), level: process.env['XENOLITH_LOG'] ?? 'info' }, pino.destination({ dest: join(logs, 'dom0.log'), sync: true, mode: 0o600 }));
const xenstored = new XenstoreServer({ hypercalls, log: line => log.info(line), ...(storeArea ? { handover: storeArea } : {}) });
await xenstored.listen(options.runDir);
hypercalls.onDomainEvent(() => xenstored.checkDomains());

const post = (message: Dom0Message): void => parentPort!.postMessage(message);
await startDom0({ hypercalls, store: xenstored.client(), xenstored, consoles: new ConsoleTable(hypercalls, logs), log, ...(domainArea ? { memory: new DomainMemory(domainArea) } : {}) }, options, message => {
  if (message.kind !== 'finished') { post(message); return; }
  void xenstored.close().finally(() => post(message));
}).catch((error: unknown) => {
  log.error({ error: messageOf(error) }, 'Dom0 cannot start');
  post({ kind: 'failed', message: messageOf(error) });
  throw error;
});
