// xl against the real API and toolstack, with a hypervisor that only keeps records.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { problemOf } from '../../dom0/api/problem.ts';
import { createApi, type HostControl } from '../../dom0/api/server.ts';
import { Management } from '../../dom0/management/index.ts';
import { RECORDED_CASES } from '../../dom0/toolstack/config/recorded-cases.ts';
import { fakeWorld, type World } from '../../dom0/toolstack/fakes.ts';
import { ToolstackError } from '../../dom0/toolstack/errors.ts';
import { Toolstack } from '../../dom0/toolstack/toolstack.ts';
import type { Consoles } from '../../dom0/toolstack/ports.ts';
import { Client } from './client.ts';
import { overrideText } from './commands/create.ts';
import { runConsole } from './console.ts';
import { xl } from './main.ts';
import { COMMANDS } from './table.ts';

let dir: string, socket: string, world: World, close: () => Promise<void>, ringText: string, keysSent: string;
const typed: string[] = [];
const consoleEnds = new Map<number, () => void>();
const consoles: Consoles = {
  source: () => undefined,
  open: () => {}, close: dom => { consoleEnds.get(dom)?.(); },
  attach: (dom, onData, onEnd) => {
    consoleEnds.set(dom, onEnd);
    onData(Buffer.from('scrollback '));
    return { write: data => { typed.push(Buffer.from(data).toString()); onData(data); return true; }, drained: async () => {}, close: () => {} };
  },
};

beforeAll(async () => { dir = await mkdtemp(join(tmpdir(), 'xl-')); process.chdir(dir); });
afterAll(async () => { await close?.(); process.chdir('/'); await rm(dir, { recursive: true }); });

beforeEach(async () => {
  await close?.();
  world = fakeWorld();
  world.hypervisor.nextDomid = 45;
  ringText = '(XEN) hello\n'; keysSent = '';
  const toolstack = new Toolstack({ ...world.near, consoles, acknowledgeMs: 40 });
  const host: HostControl = {
    view: () => ({
      host: 'dom0', release: '6.1.0-56-amd64', version: '#1 SMP', machine: 'x86_64', cpus: 2, cpuMhz: 2596.121, totalMemKib: 4193280, freeMemKib: 2314240, hwCaps: '0', compiler: 'c', buildId: 'b',
      xenMajor: 4, xenMinor: 17, xenExtra: '.7', scheduler: 'credit2', capabilities: 'xen-3.0-x86_64 ', commandLine: '', changeset: '', pid: 1, uptimeSec: 1,
    }),
    dmesg: clear => { const text = ringText; if (clear) ringText = ''; return text; }, debugKeys: keys => { keysSent += keys; }, shutdown: () => true,
  };
  const api = createApi({ toolstack, consoles, host, management: new Management({ toolstack, log: world.near.log, nowMs: Date.now, problemOf }) });
  socket = join(dir, `s${Math.random().toString(36).slice(2)}`);
  await api.listen({ path: socket });
  close = () => api.close();
});

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '', err = '';
  const code = await xl(argv, { out: text => { out += text; }, err: text => { err += text; }, client: async () => new Client(socket) });
  return { code, out, err };
}
const file = async (name: string, text: string): Promise<string> => { await writeFile(join(dir, name), text); return name; };
const UUID = '5d72d3de-a654-4297-829e-9d59efb62889';
const domu = () => file('domu.cfg', `name="domu"\nuuid="${UUID}"\nkernel="/boot/vmlinuz-6.1.0-56-amd64"\nramdisk="/oracle/domu-initramfs.gz"\nextra="console=hvc0 earlyprintk=xen"\nmemory=256\ntype="pv"\non_crash="preserve"\ndisk=['/oracle/domu.img,raw,xvda,rw']\n`);
const withDomu = async () => expect(await run('create', '-q', await domu())).toEqual({ code: 0, out: '', err: '' });

describe('recorded cases of xl create', () => {
  test('without a file', async () => expect(await run('create')).toEqual({ code: 6, out: '', err: 'Config file not specified and none in save file\n' }));
  test('with a file that is not there', async () => expect(await run('create', '/nonexistent.cfg')).toEqual({ code: 3, out: '', err: 'Failed to read config file: /nonexistent.cfg: No such file or directory\n' }));
  test('dry run with settings on the command line', async () => {
    const { code, out, err } = await run('create', '-n', '/dev/null', 'name="foo"', 'kernel="/boot/small-pv-kernel"', 'memory=32', 'uuid="8a1e166f-67f5-4c64-ad14-3a783fcb968b"');
    expect([code, err]).toEqual([0, 'Parsing config from /dev/null\n']);
    expect(out).toBe(`{
    "c_info": {
        "type": "pv",
        "name": "foo",
        "uuid": "8a1e166f-67f5-4c64-ad14-3a783fcb968b",
        "run_hotplug_scripts": "True"
    },
    "b_info": {
        "max_memkb": 32768,
        "target_memkb": 32768,
        "sched_params": {

        },
        "claim_mode": "True",
        "kernel": "/boot/small-pv-kernel",
        "type.pv": {

        },
        "arch_arm": {

        },
        "arch_x86": {

        }
    },
    "on_reboot": "restart",
    "on_soft_reset": "soft_reset"
}
`);
  });
  for (const recorded of RECORDED_CASES) {
    const { exitCode, stderr } = recorded.here ?? recorded;
    // Exit code 3 of kernels is the builder's business.
    if (exitCode === 3 && /^(kernel|ramdisk|memory-1$)/.test(recorded.name)) continue;
    test(recorded.name, async () => {
      if (recorded.name === 'name-dup') await withDomu();
      const name = await file(`${recorded.name}.cfg`, recorded.text);
      const { code, err } = await run('create', '-p', name);
      expect([code, err.split('\n')[0]]).toEqual([exitCode, `Parsing config from ${name}`]);
      expect(err).toContain(stderr);
      expect(world.hypervisor.domains.size).toBe((exitCode === 0 ? 1 : 0) + (recorded.name === 'name-dup' ? 1 : 0));
    });
  }
});

describe('what scripts read', () => {
  test('list', async () => {
    await withDomu();
    const { out } = await run('list', 'domu');
    expect(out).toBe('Name                                        ID   Mem VCPUs\tState\tTime(s)\ndomu                                        45   256     1     -b----       5.9\n');
    expect((await run('list', '-v', 'domu')).out).toBe(`Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            Reason-Code\tSecurity Label\ndomu                                        45   256     1     -b----       5.9 ${UUID}        -                -\n`);
    expect((await run('list')).out.split('\n')[1]).toMatch(/^Domain-0 {37}0 +\d+ +\d+ {5}r----- +\d+\.\d$/);
    expect(await run('list', 'nosuchdomain')).toEqual({ code: 1, out: '', err: 'nosuchdomain is an invalid domain identifier (rc=-6)\n' });
  });
  test('list -l', async () => {
    await withDomu();
    const { out } = await run('list', '-l', 'domu');
    expect(out.startsWith('[\n    {\n        "domid": 45,\n        "config": {\n            "c_info": {\n                "type": "pv",\n                "name": "domu",\n                "domid": 4294967295,\n')).toBe(true);
    const [domain] = JSON.parse(out) as [{ config: Record<string, Record<string, unknown>> }];
    expect(domain.config).toEqual({
      c_info: { type: 'pv', name: 'domu', domid: 4294967295, uuid: UUID, run_hotplug_scripts: 'True' },
      b_info: {
        max_vcpus: 1, avail_vcpus: [0], max_memkb: 262144, target_memkb: 262144, video_memkb: 0, sched_params: { sched: 'credit2', weight: 256, cap: 0 }, claim_mode: 'True',
        kernel: '/boot/vmlinuz-6.1.0-56-amd64', cmdline: 'console=hvc0 earlyprintk=xen', ramdisk: '/oracle/domu-initramfs.gz', 'type.pv': {}, arch_arm: {}, arch_x86: { msr_relaxed: 'False' },
      },
      disks: [{ pdev_path: '/oracle/domu.img', vdev: 'xvda', format: 'raw', readwrite: 1, colo_restore_enable: 'False' }],
      on_reboot: 'restart', on_crash: 'preserve', on_soft_reset: 'soft_reset',
    });
    expect(out.endsWith('\n    }\n]\n\n')).toBe(true);
  });
  test('domid, domname, vm-list, vcpu-list, uptime, block-list', async () => {
    await withDomu();
    expect((await run('domid', 'domu')).out).toBe('45\n');
    expect(await run('domid', 'nosuchdomain')).toEqual({ code: 1, out: '', err: "Can't get domid of domain name 'nosuchdomain', maybe this domain does not exist.\n" });
    expect((await run('domname', '45')).out).toBe('domu\n');
    expect(await run('domname', '999')).toEqual({ code: 1, out: '', err: "Can't get domain name of domain id '999', maybe this domain does not exist.\n" });
    expect((await run('vm-list')).out).toBe(`UUID                                  ID    name\n${UUID}  45    ${'domu'.padEnd(30)}\n`);
    expect((await run('vcpu-list', 'domu')).out).toBe('Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\ndomu                                45     0    -   -b-       5.9  all / all\n');
    expect((await run('uptime', 'domu')).out).toMatch(/^Name {32}ID Uptime\ndomu {32}45 {2}0:\d\d:\d\d\n$/);
    expect((await run('uptime', '-s', 'domu')).out).toMatch(/^ \d\d:\d\d:\d\d up {2}0:\d\d, domu \(45\)\n$/);
    for (const [key, value] of [['state', '4'], ['event-channel', '8'], ['ring-ref', '8']] as const) world.store.write(`/local/domain/45/device/vbd/51712/${key}`, value);
    expect((await run('block-list', 'domu')).out).toBe('Vdev  BE  handle state evt-ch ring-ref BE-path                       \n51712 0   45     4     8      8        /local/domain/0/backend/vbd/45/51712\n');
  });
  test('network-attach, network-list, network-detach', async () => {
    await withDomu();
    const header = 'Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref BE-path                       \n';
    expect(await run('network-list', 'domu')).toEqual({ code: 0, out: header, err: '' });
    expect(await run('network-attach', 'domu', 'mac=00:16:3e:11:22:33', 'bridge=xenbr0')).toEqual({ code: 0, out: '', err: '' });
    expect(await run('network-attach', 'domu', 'mac=00:16:3e:44:55:66,bridge=xenbr0')).toEqual({ code: 0, out: '', err: '' });
    for (const [i, [tx, rx]] of [[522, 523], [1036, 1037]].entries()) for (const [key, value] of [['state', 4], ['tx-ring-ref', tx], ['rx-ring-ref', rx]] as const) world.store.write(`/local/domain/45/device/vif/${i}/${key}`, String(value));
    // As recorded on a real Xen 4.17.7.
    const rows = ['0   0  00:16:3e:11:22:33     0     4     -1   522/523         /local/domain/0/backend/vif/45/0\n', '1   0  00:16:3e:44:55:66     1     4     -1  1036/1037        /local/domain/0/backend/vif/45/1\n'];
    expect((await run('network-list', 'domu')).out).toBe(header + rows.join(''));
    // Beyond xl: what an interface was given.
    world.store.write('/local/domain/0/backend/vif/45/1/addresses', '10.0.2.15 fd00::1');
    expect((await run('network-list', 'domu')).out).toBe(`${header.trimEnd().padEnd(header.length - 1)} Addresses\n${rows[0]}${rows[1]!.trimEnd()} 10.0.2.15 fd00::1\n`);
    expect(await run('network-detach', 'domu', '1')).toEqual({ code: 0, out: '', err: '' });
    expect((await run('network-list', 'domu')).out).toBe(header + rows[0]);
    expect(await run('network-detach', 'domu', '00:16:3E:11:22:33')).toEqual({ code: 0, out: '', err: '' });
    expect([world.openVifs.size, world.store.list('/local/domain/45/device/vif'), world.store.list('/local/domain/0/backend/vif/45')]).toEqual([0, [], []]);

    expect(await run('network-detach', 'domu', '1')).toEqual({ code: 1, out: '', err: 'Unknown device 1.\n' });
    expect(await run('network-attach', 'domu', 'bridge=nobridge0')).toEqual({ code: 1, out: '', err: 'xl: error: Could not find bridge device nobridge0\nlibxl_device_nic_add failed.\n' });
    expect(await run('network-attach', 'domu', 'frob=1')).toEqual({ code: 1, out: '', err: 'unrecognized argument `frob=1\'\n' });
    expect(await run('network-attach', 'nobody')).toEqual({ code: 1, out: '', err: 'nobody is an invalid domain identifier (rc=-6)\n' });
    expect((await run('network-detach', 'domu')).code).toBe(2);
    expect((await run('network-list', 'nobody')).err).toBe('nobody is an invalid domain identifier\n');
  });
  test('info', async () => {
    const { out } = await run('info');
    expect(out.split('\n').map(line => line.split(' ')[0])).toEqual(`host release version machine nr_cpus max_cpu_id nr_nodes cores_per_socket threads_per_core cpu_mhz hw_caps virt_caps total_memory
      free_memory sharing_freed_memory sharing_used_memory outstanding_claims free_cpus xen_major xen_minor xen_extra xen_version xen_caps xen_scheduler xen_pagesize platform_params
      xen_changeset xen_commandline cc_compiler cc_compile_by cc_compile_domain cc_compile_date build_id xend_config_format`.split(/\s+/).concat(''));
    expect(out).toContain('cpu_mhz                : 2596.121\n');
    expect(out).toContain('total_memory           : 4095\n');
    expect(out).toContain('xen_version            : 4.17.7\n');
    expect((await run('info', '-n')).out).toContain('cpu:    core    socket     node\n  0:       0        0        0\n');
  });
  test('dmesg and debug-keys', async () => {
    expect((await run('dmesg', '-c')).out).toBe('(XEN) hello\n');
    expect((await run('dmesg')).out).toBe('');
    await run('debug-keys', 'q');
    expect(keysSent).toBe('q');
  });
  test('top -b', async () => {
    await withDomu();
    const { out } = await run('top', '-b', '-i', '1');
    expect(out).toMatch(/^ {6}NAME {2}STATE {3}CPU\(sec\)/);
    expect(out.split('\n')[2]).toMatch(/^ {6}domu --b--- {10}5 {4}0\.0 {5}262144 {4}6\.3/);
  });
});

describe('changing domains', () => {
  test('a domain without a definition, and with one', async () => {
    const client = new Client(socket);
    await withDomu();
    expect(await client.definitions()).toEqual([]);
    expect(await run('destroy', 'domu')).toMatchObject({ code: 0 });
    expect(await run('create', '-q', '--restart=on-failure', '--autostart', await domu())).toEqual({ code: 0, out: '', err: '' });
    expect(await client.definitions()).toMatchObject([{ name: 'domu', uuid: UUID, autostart: true, restart: { policy: 'on-failure' } }]);
    expect((await client.domain('domu')).uuid).toBe(UUID);
    expect(await run('destroy', 'domu')).toMatchObject({ code: 0 });
    expect(await run('create', '-q', '--managed', await domu())).toMatchObject({ code: 3, err: expect.stringContaining('exists already') });
    await client.undefine('domu');
    expect(await run('create', '-q', '--restart=often', await domu())).toMatchObject({ code: 2 });
    world.badKernels.set('/boot/vmlinuz-6.1.0-56-amd64', new ToolstackError('bad-kernel', 'no'));
    expect(await run('create', '-q', '--managed', await domu())).toMatchObject({ code: 3 });
    expect(await client.definitions()).toEqual([]);
  });
  test('pause, unpause', async () => {
    await withDomu();
    for (const [command, letters] of [['pause', '--p---'], ['pause', '--p---'], ['unpause', '-b----'], ['unpause', '-b----']] as const) {
      expect(await run(command, 'domu')).toEqual({ code: 0, out: '', err: '' });
      expect((await run('list', 'domu')).out).toContain(letters);
    }
    expect(await run('pause', 'nosuchdomain')).toEqual({ code: 1, out: '', err: 'nosuchdomain is an invalid domain identifier (rc=-6)\n' });
  });
  test('suspend, resume', async () => {
    await withDomu();
    const path = '/local/domain/45/control/shutdown';
    world.store.watch(path, () => { if (world.store.read(path) === 'suspend') { world.store.write(path, ''); world.hypervisor.shutdown(45, 2); } });
    for (const [command, letters] of [['suspend', '---s--'], ['resume', '-b----']] as const) {
      expect(await run(command, 'domu')).toEqual({ code: 0, out: '', err: '' });
      expect((await run('list', 'domu')).out).toContain(letters);
    }
    expect(await run('resume', 'domu')).toEqual({ code: 1, out: '', err: 'resume failed: domain 45 is not suspended\n' });
    expect(await run('suspend')).toMatchObject({ code: 2 });
    expect((await run('help', 'resume')).out).toContain('Usage: xl [-vf] resume <Domain>\n\nResume a domain from RAM.');
  });
  test('destroy', async () => {
    await withDomu();
    expect(await run('destroy', '0')).toEqual({ code: 1, out: '', err: 'Not destroying domain 0; use -f to force.\nThis can only be done when using a disaggregated hardware domain and toolstack.\n\n' });
    expect((await run('destroy', 'domu')).code).toBe(0);
    expect((await run('domid', 'domu')).code).toBe(1);
  });
  test('shutdown -w', async () => {
    await withDomu();
    world.store.watch('/local/domain/45/control/shutdown', path => { if (world.store.read(path) === 'poweroff') world.hypervisor.shutdown(45, 0); });
    expect(await run('shutdown', '-w', 'domu')).toEqual({ code: 0, out: '', err: 'Shutting down domain 45\nWaiting for 1 domains\nDomain 45 has been shut down, reason code 0\n' });
  });
  test('a guest that does not listen', async () => {
    await withDomu();
    const { code, err } = await run('reboot', 'domu');
    expect(code).toBe(1);
    expect(err).toMatch(/^Rebooting domain 45\nguest didn't acknowledge control request.*\nreboot failed \(rc=-9\)\n$/);
    expect(await run('shutdown')).toEqual({ code: 1, out: '', err: 'You must specify -a or a domain id.\n\n' });
  });
  test('rename and sysrq', async () => {
    await withDomu();
    expect(await run('rename', 'domu', 'domuX')).toEqual({ code: 0, out: '', err: '' });
    await run('sysrq', 'domuX', 's');
    expect(world.store.read('/local/domain/45/control/sysrq')).toBe('s');
  });
  test('console: bytes both ways until Ctrl-]', async () => {
    await withDomu();
    expect((await run('console', 'nosuchdomain')).err).toBe('nosuchdomain is an invalid domain identifier (rc=-6)\n');
    const input = new PassThrough(), output = new PassThrough();
    const stream = await new Client(socket).console('domu');
    const end = runConsole(stream, { input: input as never, output });
    input.write('ls\x1dignored');
    expect(await end).toBe('left');
    await expect.poll(() => typed.join('')).toBe('ls');
    const again = runConsole(await new Client(socket).console('45'), { input: new PassThrough() as never, output });
    await run('destroy', 'domu');
    expect(await again).toBe('domain-ended');
    expect(output.read()?.toString()).toContain('scrollback ');
    await expect(new Client(socket).console('nobody')).rejects.toThrow('nobody is an invalid domain identifier');
  });
});

describe('the command table', () => {
  test('no command, unknown command, unknown option, missing argument', async () => {
    expect((await run()).code).toBe(1);
    expect((await run()).out).toMatch(/^Usage xl \[-vfNtT\] <subcommand> \[args\]\n\nxl full list of subcommands:\n\n create {14}Create a domain from config file <filename>\n/);
    expect(await run('frobnicate')).toEqual({ code: 1, out: '', err: 'command not implemented\n' });
    expect((await run('list', '--frob')).code).toBe(2);
    expect((await run('domid')).err).toContain("'xl domid' requires at least 1 argument.\n\nUsage: xl");
  });
  test('help and completion have every command', async () => {
    const help = (await run('help')).out, completion = (await run('bash-completion')).out;
    for (const { name } of COMMANDS) { expect(help).toContain(`\n ${name} `); expect(completion).toContain(`    ${name}) words=`); }
    expect((await run('help', 'create')).out).toContain('-p                             Leave the domain paused after it is created.\n');
    expect((await run('create', '-h')).out).toBe((await run('help', 'create')).out);
  });
  test('bare words from the shell become strings', () => {
    expect(overrideText('a=1', ['memory=512', 'kernel=/boot/x', 'name="q"', 'disk=["a"]', "extra='x y'"])).toBe('\nmemory=512\nkernel="/boot/x"\nname="q"\ndisk=["a"]\nextra=\'x y\'\n');
  });
});

describe('the API', () => {
  const request = async (method: string, path: string, body?: unknown): Promise<{ status: number; type: string; body: Record<string, unknown> }> => {
    const { request: httpRequest } = await import('node:http');
    return new Promise((resolve, reject) => {
      const r = httpRequest({ socketPath: socket, method, path, headers: body === undefined ? {} : { 'content-type': 'application/json' } }, response => {
        let text = '';
        response.on('data', d => { text += d; }).on('end', () => resolve({ status: response.statusCode!, type: response.headers['content-type'] ?? '', body: JSON.parse(text || '{}') as Record<string, unknown> }));
      }).on('error', reject);
      r.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
    });
  };
  test('says what is wrong as problem+json', async () => {
    expect(await request('GET', '/v1/domains/nobody')).toMatchObject({ status: 404, type: expect.stringContaining('application/problem+json'), body: { code: 'domain-not-found', status: 404, detail: 'nobody is an invalid domain identifier' } });
    expect(await request('GET', '/v2')).toMatchObject({ status: 404, body: { code: 'no-such-resource' } });
    expect(await request('POST', '/v1/domains', '{"config":')).toMatchObject({ status: 400, body: { code: 'bad-request' } });
    expect(await request('POST', '/v1/domains', { config: { name: 'x' } })).toMatchObject({ status: 400, body: { code: 'invalid-body', detail: expect.stringContaining('config.uuid') } });
    expect(await request('DELETE', '/v1/domains/0')).toMatchObject({ status: 409, body: { code: 'dom0-refused' } });
    expect(await request('GET', '/v1/domains/0/console')).toMatchObject({ status: 426 });
  });
});
