// Disks, memory targets, triggers and scheduler parameters of domains that run.
import type { FastifyInstance } from 'fastify';
import type { Action } from '../toolstack/action.ts';
import { BadRequest } from './problem.ts';
import { isAbsolute } from 'node:path';
import { CONTRACT } from './contract.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

export function deviceRoutes(api: FastifyInstance, { toolstack, management: { roots }, hypercalls, host }: ApiContext): void {
  serve(api, CONTRACT.disks, async ({ params }) => (await toolstack.describe(params.domain)).disks);
  serve(api, CONTRACT.attachDisk, async ({ params: { domain }, body, request: { caller } }) => {
    if (!isAbsolute(body.target)) throw new BadRequest('invalid-body', `target: ${body.target} is not an absolute path: the host has another working directory`);
    const disk = caller.remote ? await roots.confineDisk(body) : body;
    return (await toolstack.perform({ action: 'attach-disk', domain, disk } as Action))!;
  });
  serve(api, CONTRACT.detachDisk, async ({ params }) => { await toolstack.perform({ action: 'detach-disk', ...params }); });
  serve(api, CONTRACT.setMemory, async ({ params, body }) => (await toolstack.perform({ action: 'memory-target', ...params, kib: body.targetKib }))!);
  serve(api, CONTRACT.trigger, async ({ params, body }) => (await toolstack.perform({ action: 'trigger', ...params, ...body }))!);
  serve(api, CONTRACT.setScheduler, async ({ params, body }) => (await toolstack.perform({ action: 'set-scheduler', ...params, ...body }))!);
  serve(api, CONTRACT.scheduler, async () => {
    const view = host.view(), { freePcpus, waiting, rateLimitUs } = hypercalls?.schedulerInfo() ?? { freePcpus: 0, waiting: 0, rateLimitUs: 0 };
    const domains = (await toolstack.list()).map(({ domid, name, weight, cap }) => ({ domid, name, weight, cap }));
    return { scheduler: view.scheduler, pcpus: view.cpus, freePcpus, waitingVcpus: waiting, rateLimitUs, domains };
  });
}
