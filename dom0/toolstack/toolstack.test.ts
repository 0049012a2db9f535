import { describe, expect, test } from 'vitest';
import { parseDomainConfig } from './config/domain-config.ts';
import { RECORDED_CASES } from './config/recorded-cases.ts';
import { ToolstackError } from './errors.ts';
import { fakeWorld } from './fakes.ts';
import { Rollback } from './rollback.ts';
import { domainNodes, ringNodes, vbdNodes } from './store-tree.ts';
import { defaultMac, vifNodes } from './vif-nodes.ts';
import { actionFor, type Gone, Toolstack } from './toolstack.ts';
import { domid, evtchnPort, mfn } from '../../hypervisor/public/types.ts';

const UUID = '1eb66ca1-8cb7-4566-b006-36c25ca2303e';
const config = (...lines: string[]) => parseDomainConfig(['name="g"', 'kernel="/k"', 'memory=256', ...lines].join('\n'), 't.cfg', { pcpus: 2 }).config;
const settle = () => new Promise(resolve => setTimeout(resolve, 10));
const failure = async (promise: Promise<unknown>): Promise<ToolstackError> => { try { await promise; } catch (e) { return e as ToolstackError; } throw new Error('did not fail'); };

describe('the tree of a domain', () => {
  // Recorded on a real Xen 4.17.7 (PATH VALUE (PERMISSIONS)), without what frontend, backend and guest add.
  const recorded = `
/libxl/88 "" n0
/libxl/88/type "pv" n0
/libxl/88/dm-version "qemu_xen" n0
/libxl/88/device/console/0/backend "/local/domain/0/backend/console/88/0" n0
/libxl/88/device/console/0/frontend "/local/domain/88/console" n0
/libxl/88/device/console/0/frontend-id "88" n0
/libxl/88/device/console/0/online "1" n0
/libxl/88/device/console/0/protocol "vt100" n0
/libxl/88/device/console/0/state "1" n0
/libxl/88/device/vbd/51712/backend "/local/domain/0/backend/vbd/88/51712" n0
/libxl/88/device/vbd/51712/bootable "1" n0
/libxl/88/device/vbd/51712/dev "xvda" n0
/libxl/88/device/vbd/51712/device-type "disk" n0
/libxl/88/device/vbd/51712/discard-enable "1" n0
/libxl/88/device/vbd/51712/frontend "/local/domain/88/device/vbd/51712" n0
/libxl/88/device/vbd/51712/frontend-id "88" n0
/libxl/88/device/vbd/51712/mode "w" n0
/libxl/88/device/vbd/51712/online "1" n0
/libxl/88/device/vbd/51712/params "/oracle/domu.img" n0
/libxl/88/device/vbd/51712/removable "0" n0
/libxl/88/device/vbd/51712/specification "xen" n0
/libxl/88/device/vbd/51712/state "1" n0
/libxl/88/device/vbd/51712/type "phy" n0
/local/domain/0/backend/console/88/0 "" n0,r88
/local/domain/0/backend/console/88/0/frontend "/local/domain/88/console" n0,r88
/local/domain/0/backend/console/88/0/protocol "vt100" n0,r88
/local/domain/0/backend/console/88/0/state "1" n0,r88
/local/domain/0/backend/vbd/88 "" n0
/local/domain/0/backend/vbd/88/51712 "" n0,r88
/local/domain/0/backend/vbd/88/51712/bootable "1" n0,r88
/local/domain/0/backend/vbd/88/51712/frontend "/local/domain/88/device/vbd/51712" n0,r88
/local/domain/0/backend/vbd/88/51712/mode "w" n0,r88
/local/domain/88 "" n0,r88
/local/domain/88/attr "" n88
/local/domain/88/console "" n0,r88
/local/domain/88/console/backend "/local/domain/0/backend/console/88/0" n0,r88
/local/domain/88/console/backend-id "0" n88,r0
/local/domain/88/console/limit "1048576" n0,r88
/local/domain/88/console/output "pty" n0,r88
/local/domain/88/console/port "2" n0,r88
/local/domain/88/console/ring-ref "1178114" n0,r88
/local/domain/88/console/type "xenconsoled" n0,r88
/local/domain/88/control "" n0,r88
/local/domain/88/control/feature-poweroff "" n88
/local/domain/88/control/feature-reboot "" n88
/local/domain/88/control/feature-suspend "" n88
/local/domain/88/control/platform-feature-multiprocessor-suspend "1" n0,r88
/local/domain/88/control/platform-feature-xs_reset_watches "1" n0,r88
/local/domain/88/control/shutdown "" n88
/local/domain/88/control/sysrq "" n88
/local/domain/88/cpu "" n0,r88
/local/domain/88/cpu/0 "" n0,r88
/local/domain/88/cpu/0/availability "online" n0,r88
/local/domain/88/cpu/1/availability "online" n0,r88
/local/domain/88/data "" n88
/local/domain/88/device "" n0,r88
/local/domain/88/device/suspend "" n0,r88
/local/domain/88/device/suspend/event-channel "" n88
/local/domain/88/device/vbd "" n0,r88
/local/domain/88/device/vbd/51712 "" n88,r0
/local/domain/88/device/vbd/51712/backend "/local/domain/0/backend/vbd/88/51712" n88,r0
/local/domain/88/device/vbd/51712/backend-id "0" n88,r0
/local/domain/88/device/vbd/51712/device-type "disk" n88,r0
/local/domain/88/device/vbd/51712/state "1" n88,r0
/local/domain/88/device/vbd/51712/trusted "1" n88,r0
/local/domain/88/device/vbd/51712/virtual-device "51712" n88,r0
/local/domain/88/domid "88" n0,r88
/local/domain/88/drivers "" n88
/local/domain/88/error "" n88
/local/domain/88/feature "" n88
/local/domain/88/image "" n0,r88
/local/domain/88/memory "" n0,r88
/local/domain/88/memory/static-max "262144" n0,r88
/local/domain/88/memory/target "262144" n0,r88
/local/domain/88/memory/videoram "0" n0,r88
/local/domain/88/name "domu2v" n0,r88
/local/domain/88/store "" n0,r88
/local/domain/88/store/port "1" n0,r88
/local/domain/88/store/ring-ref "1178113" n0,r88
/local/domain/88/vm "/vm/${UUID}" n0,r88
/vm/${UUID} "" n0,r88
/vm/${UUID}/image "" n0,r88
/vm/${UUID}/image/cmdline "console=hvc0 earlyprintk=xen" n0,r88
/vm/${UUID}/image/kernel "/boot/vmlinuz-6.1.0-56-amd64" n0,r88
/vm/${UUID}/image/ostype "linux" n0,r88
/vm/${UUID}/image/ramdisk "/oracle/domu-initramfs.gz" n0,r88
/vm/${UUID}/name "domu2v" n0,r88
/vm/${UUID}/start_time "1795395827.60" n0,r88
/vm/${UUID}/uuid "${UUID}" n0,r88`.trim().split('\n');

  const made = (() => {
    const dom = domid(88);
    const c = parseDomainConfig(`name="domu2v"\nuuid="${UUID}"\nvcpus=2\nmemory=256\nkernel="/boot/vmlinuz-6.1.0-56-amd64"\nramdisk="/oracle/domu-initramfs.gz"\nextra="console=hvc0 earlyprintk=xen"\ndisk=['/oracle/domu.img,raw,xvda,rw']`, 't', { pcpus: 2 }).config;
    return [...domainNodes(dom, c, 1795395827600), ...ringNodes(dom, { storeMfn: mfn(1178113), storePort: evtchnPort(1), consoleMfn: mfn(1178114), consolePort: evtchnPort(2) }), ...vbdNodes(dom, 51712, c.disks[0]!)]
      .map(n => `${n.path} "${n.value}" ${n.permissions.join(',')}`);
  })();

  test('has every recorded node with value and permissions', () => expect(recorded.filter(line => !made.includes(line))).toEqual([]));
  test('has no node twice', () => { const paths = made.map(l => l.split(' ')[0]); expect(paths.filter((p, i) => paths.indexOf(p) !== i)).toEqual([]); });
});

describe('create', () => {
  test('leaves a running domain with its rings', async () => {
    const world = fakeWorld(), toolstack = new Toolstack(world.near);
    const view = await toolstack.perform({ action: 'create', config: config("disk=['/d.img,raw,xvda,rw']") });
    expect(view).toMatchObject({ domid: 1, name: 'g', blocked: true, paused: false, memKib: 262144 });
    expect([world.store.introduced.has(1), world.openConsoles.has(1), world.openDisks.has('/d.img')]).toEqual([true, true, true]);
    expect((await toolstack.list()).map(d => d.name)).toEqual(['Domain-0', 'g']);
  });

  test('paused', async () => {
    const world = fakeWorld(), toolstack = new Toolstack(world.near);
    expect((await toolstack.perform({ action: 'create', config: config(), paused: true }))!.paused).toBe(true);
    expect((await toolstack.perform({ action: 'unpause', domain: 'g' }))!.paused).toBe(false);
  });

  const nothingLeft = (world: ReturnType<typeof fakeWorld>): void => {
    expect(world.hypervisor.domains.size).toBe(0);
    expect([...world.openDisks, ...world.openConsoles, ...world.store.introduced]).toEqual([]);
    expect([...world.store.nodes.keys()].filter(path => path !== '/' && !/^\/(local(\/domain(\/0(\/backend(\/\w+)?)?)?)?|vm|libxl)$/.test(path))).toEqual([]);
  };

  test('a failure at any step leaves nothing behind', async () => {
    const steps = ['evtchnAllocUnbound', 'domainCreate'] as const;
    for (const step of steps) {
      const world = fakeWorld();
      (world.hypervisor.calls as Record<string, unknown>)[step] = () => -12;
      await failure(new Toolstack(world.near).perform({ action: 'create', config: config("disk=['/d.img,raw,xvda,rw']") }));
      nothingLeft(world);
    }
    for (let n = 1; n < 120; n += 7) {
      const world = fakeWorld(), write = world.store.write.bind(world.store);
      let count = 0;
      world.store.write = (path, value) => { if (++count === n) throw new Error('quota'); write(path, value); };
      const error = await failure(new Toolstack(world.near).perform({ action: 'create', config: config("disk=['/d.img,raw,xvda,rw']") }).then(() => { if (count >= n) throw new Error('ignored the failure'); throw new Error('enough'); }));
      if (error.message === 'enough') break;
      expect(error).toMatchObject({ code: 'build-failed', message: expect.stringContaining('quota') });
      nothingLeft(world);
    }
  });

  describe('recorded refusals of the toolstack', () => {
    const files = new Map([
      ['/nonexistent/vmlinuz', "failed to open file '/nonexistent/vmlinuz': No such file or directory"], ['/nonexistent/initrd', "failed to open file '/nonexistent/initrd': No such file or directory"],
    ]);
    for (const recorded of RECORDED_CASES) {
      const expected = recorded.here ?? recorded;
      // What a kernel file holds is the builder's business.
      if (expected.exitCode !== 3 || /^kernel-(?!nonexist)|^memory-1$/.test(recorded.name)) continue;
      test(recorded.name, async () => {
        const world = fakeWorld(), toolstack = new Toolstack(world.near);
        for (const [path, message] of files) world.badKernels.set(path, new ToolstackError('bad-kernel', message));
        if (recorded.name === 'name-dup') await toolstack.perform({ action: 'create', config: { ...config(), name: 'domu' } });
        const { config: parsed } = parseDomainConfig(recorded.text, `${recorded.name}.cfg`, { pcpus: 2 });
        const error = await failure(toolstack.perform({ action: 'create', config: parsed }));
        expect(error).toBeInstanceOf(ToolstackError);
        expect(error.message).toContain(expected.stderr);
        expect(world.hypervisor.domains.size).toBe(recorded.name === 'name-dup' ? 1 : 0);
      });
    }
  });

  test('two disks of one name are refused', async () =>
    expect((await failure(new Toolstack(fakeWorld().near).perform({ action: 'create', config: config("disk=['/a,raw,xvda,w','/b,raw,51712,w']") }))).message).toContain('same virtual device'));
});

describe('life cycle', () => {
  const start = async (...lines: string[]) => {
    const world = fakeWorld(), toolstack = new Toolstack({ ...world.near, acknowledgeMs: 50 });
    await toolstack.perform({ action: 'create', config: config(...lines) });
    return { world, toolstack, names: async () => (await toolstack.list()).slice(1).map(d => `${d.domid} ${d.name.replace(/-\d{8}T.*/, '-STAMP')}`) };
  };

  test('poweroff destroys', async () => {
    const { world, toolstack, names } = await start();
    const end = toolstack.waitEnd('g');
    world.hypervisor.shutdown(1, 0);
    expect(await end).toEqual({ kind: 'shutdown', reason: 0 });
    await settle();
    expect([await names(), world.hypervisor.domains.size, world.openConsoles.size]).toEqual([[], 0, 0]);
    expect([...world.store.nodes.keys()].filter(p => p.includes('/1'))).toEqual([]);
  });
  test('reboot makes a new domain of the same configuration', async () => {
    const { world, toolstack, names } = await start();
    const uuid = toolstack.config('g').uuid;
    world.hypervisor.shutdown(1, 1);
    await settle();
    expect([await names(), toolstack.config('g').uuid]).toEqual([['2 g'], uuid]);
  });
  test('whoever destroys one that is about to be made again has it stay away', async () => {
    const { world, toolstack, names } = await start();
    world.hypervisor.shutdown(1, 1);
    await toolstack.perform({ action: 'destroy', domain: 'g' });
    await settle();
    expect([await names(), toolstack.idle]).toEqual([[], true]);
  });
  test('preserve keeps it, without its disks', async () => {
    const { world, toolstack, names } = await start('on_crash="preserve"', "disk=['/d.img,raw,xvda,rw']");
    world.hypervisor.shutdown(1, 3);
    await settle();
    expect(await names()).toEqual(['1 g']);
    expect((await toolstack.describe('g'))).toMatchObject({ crashed: true, shutdownReason: 3, disks: [] });
    expect(world.openDisks.size).toBe(0);
    await toolstack.perform({ action: 'destroy', domain: 'g' });
    expect(await names()).toEqual([]);
  });
  test('rename-restart sets the old one aside', async () => {
    const { world, toolstack, names } = await start('on_crash="rename-restart"');
    world.hypervisor.shutdown(1, 3);
    await settle();
    expect(await names()).toEqual(['1 g-STAMP', '2 g']);
    expect(new Set((await toolstack.list()).map(d => d.uuid)).size).toBe(3);
  });
  test('core dumps are not made, the rest of the action is', () => {
    expect(actionFor(config('on_crash="coredump-restart"'), 3)).toBe('restart');
    expect(actionFor(config('on_crash="coredump-destroy"'), 3)).toBe('destroy');
    expect(actionFor(config(), 99)).toBe('destroy');
  });

  test('shutdown waits for the acknowledgement', async () => {
    const { world, toolstack } = await start();
    const path = '/local/domain/1/control/shutdown';
    const asked = toolstack.perform({ action: 'shutdown', domain: 'g' });
    await settle();
    expect(world.store.read(path)).toBe('poweroff');
    world.store.write(path, '');
    await asked;
    const error = await failure(toolstack.perform({ action: 'reboot', domain: 1 }));
    expect([error.code, world.store.read(path)]).toEqual(['no-answer', '']);
  });
  describe('suspended', () => {
    const path = '/local/domain/1/control/shutdown';
    const suspended = async () => {
      const all = await start("disk=['/d.img,raw,xvda,rw']"), { world, toolstack } = all;
      world.store.watch(path, () => { if (world.store.read(path) === 'suspend') { world.store.write(path, ''); setTimeout(() => world.hypervisor.shutdown(1, 2), 5); } });
      expect(await toolstack.perform({ action: 'suspend', domain: 'g' })).toMatchObject({ shutdown: true, crashed: false, shutdownReason: 2 });
      return all;
    };
    test('it is shut down with its devices, whatever its settings say, and goes on when it is resumed', async () => {
      const { world, toolstack, names } = await suspended();
      expect([await names(), world.openDisks.size, world.openConsoles.size]).toEqual([['1 g'], 1, 1]);
      expect(await toolstack.waitEnd('g')).toEqual({ kind: 'shutdown', reason: 2 });
      for (const action of ['suspend', 'shutdown', 'reboot'] as const) expect(await failure(toolstack.perform({ action, domain: 'g' }))).toMatchObject({ code: 'domain-not-running', message: expect.stringContaining('xl resume') });
      expect(await toolstack.perform({ action: 'resume', domain: 'g' })).toMatchObject({ shutdown: false, blocked: true });
      expect((await failure(toolstack.perform({ action: 'resume', domain: 'g' }))).code).toBe('domain-not-suspended');
      const end = toolstack.waitEnd('g');
      world.hypervisor.shutdown(1, 1);
      expect(await end).toEqual({ kind: 'shutdown', reason: 1 });
      await settle();
      expect(await names()).toEqual(['2 g']);
    });
    test('it is destroyed like one that runs: it has not ended by itself', async () => {
      const { world, toolstack } = await suspended(), gone: Gone[] = [];
      toolstack.onGone = g => { gone.push(g); };
      await toolstack.perform({ action: 'destroy', domain: 'g' });
      expect([gone.map(g => [g.returns, g.reason]), world.openDisks.size]).toEqual([[[false, undefined]], 0]);
    });
    test('it goes on, to power off, when the host goes down', async () => {
      const { world, toolstack } = await suspended(), reasons: number[] = [];
      world.store.watch(path, () => { if (world.store.read(path) === 'poweroff') { reasons.push(world.hypervisor.domains.get(1)!.reason); world.hypervisor.shutdown(1, 0); } });
      const { domainResume } = world.hypervisor.calls;
      let resumed = 0;
      world.hypervisor.calls.domainResume = dom => { resumed++; return domainResume(dom); };
      await toolstack.shutdownAll(1000);
      expect([resumed, reasons.length, world.hypervisor.domains.size]).toEqual([1, 1, 0]);
    });
    test('one that takes the request and does nothing, or ends, is said', async () => {
      const { world, toolstack } = await start();
      let then = (): void => {};
      world.store.watch(path, () => { if (world.store.read(path) === 'suspend') { world.store.write(path, ''); then(); } });
      expect(await failure(toolstack.perform({ action: 'suspend', domain: 'g' }))).toMatchObject({ code: 'no-answer', message: expect.stringContaining('did not suspend') });
      then = () => { setTimeout(() => world.hypervisor.shutdown(1, 0), 5); };
      expect((await failure(toolstack.perform({ action: 'suspend', domain: 'g' }))).code).toBe('domain-not-running');
    });
    test('two who ask suspend it once', async () => {
      const { world, toolstack } = await start();
      let asked = 0;
      world.store.watch(path, () => { if (world.store.read(path) === 'suspend' && asked++ === 0) { world.store.write(path, ''); setTimeout(() => world.hypervisor.shutdown(1, 2), 20); } });
      await Promise.all([toolstack.perform({ action: 'suspend', domain: 'g' }), settle().then(() => toolstack.perform({ action: 'suspend', domain: 'g' }))]);
      expect([asked, world.store.read(path)]).toEqual([2, '']);
    });
  });
  test('rename', async () => {
    const { world, toolstack, names } = await start();
    await toolstack.perform({ action: 'create', config: { ...config(), name: 'h', uuid: UUID } });
    for (const name of ['h', 'Domain-0']) expect((await failure(toolstack.perform({ action: 'rename', domain: 'g', name }))).code).toBe('domain-exists');
    await toolstack.perform({ action: 'rename', domain: 'g', name: 'x' });
    expect([await names(), world.store.read('/local/domain/1/name')]).toEqual([['1 x', '2 h'], 'x']);
    expect((await failure(toolstack.describe('g'))).message).toBe('g is an invalid domain identifier');
  });
  test('names are taken while a domain is being made', async () => {
    const world = fakeWorld(), toolstack = new Toolstack(world.near);
    const results = await Promise.allSettled([config(), config()].map(c => toolstack.perform({ action: 'create', config: c })));
    expect(results.map(r => r.status).sort()).toEqual(['fulfilled', 'rejected']);
  });
  test('the host going down asks first, then destroys', async () => {
    const { world, toolstack } = await start();
    world.store.watch('/local/domain/1/control/shutdown', path => { if (world.store.read(path) === 'poweroff') world.hypervisor.shutdown(1, 0); });
    await toolstack.shutdownAll(1000);
    await settle();
    expect(world.hypervisor.domains.size).toBe(0);
    expect((await failure(toolstack.perform({ action: 'create', config: config() }))).code).toBe('domain-busy');
  });
});

test('rollback runs in reverse and past failures', async () => {
  const order: number[] = [], rollback = new Rollback();
  for (const n of [1, 2, 3]) rollback.add(`step ${n}`, () => { order.push(n); if (n === 2) throw new Error('no'); });
  expect(await rollback.run()).toEqual(['step 2: no']);
  expect(order).toEqual([3, 2, 1]);
});

describe('virtual interfaces', () => {
  const MAC = '00:16:3e:11:22:33';
  test('their nodes are those recorded on a real Xen 4.17.7', () => {
    const nodes = vifNodes(domid(45), 0, { mac: MAC, bridge: 'xenbr0', trusted: true });
    const line = (path: string): string | undefined => { const n = nodes.find(x => x.path === path); return n && `"${n.value}" ${n.permissions.join()}`; };
    const back = '/local/domain/0/backend/vif/45/0', front = '/local/domain/45/device/vif/0', libxl = '/libxl/45/device/vif/0';
    const recorded: Record<string, string> = {
      '/libxl/45/device/vif': '"" n0', [libxl]: '"" n0', [`${libxl}/backend`]: `"${back}" n0`, [`${libxl}/bridge`]: '"xenbr0" n0', [`${libxl}/frontend`]: `"${front}" n0`,
      [`${libxl}/frontend-id`]: '"45" n0', [`${libxl}/handle`]: '"0" n0', [`${libxl}/hotplug-status`]: '"" n0', [`${libxl}/mac`]: `"${MAC}" n0`, [`${libxl}/online`]: '"1" n0',
      [`${libxl}/script`]: '"/etc/xen/scripts/vif-bridge" n0', [`${libxl}/state`]: '"1" n0', [`${libxl}/type`]: '"vif" n0',
      '/local/domain/0/backend/vif/45': '"" n0', [back]: '"" n0,r45', [`${back}/bridge`]: '"xenbr0" n0,r45', [`${back}/frontend`]: `"${front}" n0,r45`, [`${back}/handle`]: '"0" n0,r45',
      [`${back}/mac`]: `"${MAC}" n0,r45`, [`${back}/online`]: '"1" n0,r45', [`${back}/script`]: '"/etc/xen/scripts/vif-bridge" n0,r45', [`${back}/type`]: '"vif" n0,r45',
      '/local/domain/45/device/vif': '"" n0,r45', [front]: '"" n45,r0', [`${front}/backend`]: `"${back}" n45,r0`, [`${front}/backend-id`]: '"0" n45,r0', [`${front}/handle`]: '"0" n45,r0',
      [`${front}/mac`]: `"${MAC}" n45,r0`, [`${front}/mtu`]: '"1500" n0,r45', [`${front}/trusted`]: '"1" n45,r0', [`${front}/state`]: '"1" n45,r0',
    };
    expect(Object.fromEntries(Object.keys(recorded).map(path => [path, line(path)]))).toEqual(recorded);
    expect(nodes.filter(n => n.path.startsWith(`${libxl}/`)).map(n => n.path.slice(libxl.length + 1)).sort()).toEqual(Object.keys(recorded).filter(p => p.startsWith(`${libxl}/`)).map(p => p.slice(libxl.length + 1)).sort());
  });

  test('plugged when the domain is made, with an address that stays the same; all gone with it', async () => {
    const world = fakeWorld(), toolstack = new Toolstack(world.near);
    const view = await toolstack.perform({ action: 'create', config: config(`uuid="${UUID}"`, "vif=['', 'mac=00:16:3e:00:00:01,rate=1MB/s,mtu=9000,vlan=7']") });
    expect(view!.vifs.map(v => [v.devid, v.mac, v.bridge])).toEqual([[0, defaultMac(UUID, 0), 'xenbr0'], [1, '00:16:3e:00:00:01', 'xenbr0']]);
    expect(defaultMac(UUID, 0)).toMatch(/^00:16:3e:[0-7]/);
    const back = `/local/domain/0/backend/vif/${view!.domid}/1`;
    expect([world.store.read(`${back}/rate`), world.store.read(`${back}/vlan`), world.store.read(`/local/domain/${view!.domid}/device/vif/1/mtu`)]).toEqual(['50000,50000', '7', '9000']);
    await toolstack.perform({ action: 'destroy', domain: view!.domid });
    expect([world.openVifs.size, [...world.store.nodes.keys()].filter(k => k.includes('/vif/'))]).toEqual([0, []]);
  });

  test('a bridge that is not there, a devid given twice: refused before a domain exists', async () => {
    const world = fakeWorld(), toolstack = new Toolstack(world.near);
    expect(await failure(toolstack.perform({ action: 'create', config: config("vif=['bridge=nobridge0']") }))).toMatchObject({ code: 'bad-vif' });
    expect(await failure(toolstack.perform({ action: 'create', config: config("vif=['devid=1', '']".replace("''", "'devid=1'")) }))).toMatchObject({ code: 'bad-vif' });
    expect(await failure(toolstack.perform({ action: 'create', config: config("vif=['backend=net']") }))).toMatchObject({ code: 'bad-vif' });
    expect([world.hypervisor.domains.size, world.openVifs.size]).toEqual([0, 0]);
  });

  test('attached while it runs in the first free place; several at once get their own', async () => {
    const world = fakeWorld(), toolstack = new Toolstack(world.near);
    const { domid: dom } = (await toolstack.perform({ action: 'create', config: config("vif=['devid=1']") }))!;
    await Promise.all([1, 2, 3].map(() => toolstack.perform({ action: 'attach-vif', domain: dom, vif: { trusted: true } })));
    expect((await toolstack.describe(dom)).vifs.map(v => v.devid).sort()).toEqual([0, 1, 2, 3]);
    await toolstack.perform({ action: 'detach-vif', domain: dom, device: '2' });
    expect((await toolstack.describe(dom)).vifs.map(v => v.devid).sort()).toEqual([0, 1, 3]);
    expect([world.openVifs.size, toolstack.config(dom).vifs.map(v => v.devid).sort()]).toEqual([3, [0, 1, 3]]);
    expect(await failure(toolstack.perform({ action: 'attach-vif', domain: dom, vif: { trusted: true, devid: 3 } }))).toMatchObject({ code: 'bad-vif' });
    const macs = (await toolstack.describe(dom)).vifs.map(v => v.mac).sort();
    world.hypervisor.shutdown(dom, 1);
    await expect.poll(() => toolstack.describe('g').then(d => d.domid, () => dom)).not.toBe(dom);
    const again = await toolstack.describe('g');
    expect([again.vifs.map(v => v.devid).sort(), again.vifs.map(v => v.mac).sort()]).toEqual([[0, 1, 3], macs]);
    world.hypervisor.shutdown(again.domid, 2);
    expect(await failure(toolstack.perform({ action: 'attach-vif', domain: again.domid, vif: { trusted: true } }))).toMatchObject({ code: 'domain-not-running' });
  });
});
