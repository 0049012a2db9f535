import { afterEach, describe, expect, it } from 'vitest';
import { domid } from '../../hypervisor/public/types.ts';
import type { XenStore } from '../xenstore/client.ts';
import { XenstoreServer } from '../xenstore/server.ts';
import { FakeHypervisor, settle } from './fakes.ts';
import { FrontendDetails, FrontendError, mapRing } from './frontend.ts';
import { XenbusBackend, type BackendHooks } from './xenbus-backend.ts';

const BACK = '/local/domain/0/backend/vbd/5/51712', FRONT = '/local/domain/5/device/vbd/51712';
const ERROR = '/local/domain/0/error/backend/vbd/5/51712/error';

interface Setup {
  store: XenStore; backend: XenbusBackend; calls: string[]; log: string[];
  front(state: number, keys?: Record<string, string>): Promise<void>;
  unplug(): Promise<void>;
  state(): string | undefined;
}
let made: XenbusBackend | undefined;
afterEach(async () => { await made?.stop(); made = undefined; });

async function setup(hooks: Partial<BackendHooks> = {}, frontState = '1', start = true): Promise<Setup> {
  const store = new XenstoreServer({ hypercalls: new FakeHypervisor().hypercalls }).client(), calls: string[] = [], log: string[] = [];
  for (const [key, value] of Object.entries({ frontend: FRONT, 'frontend-id': '5', online: '1', state: '1' })) store.write(`${BACK}/${key}`, value);
  if (frontState) store.write(`${FRONT}/state`, frontState);
  const backend = made = new XenbusBackend({
    kind: 'vbd', store, path: BACK, log: line => log.push(line),
    hooks: {
      init: () => { calls.push('init'); return hooks.init?.() ?? { 'feature-x': 1 }; },
      connect: f => { calls.push('connect'); return hooks.connect?.(f) ?? { sectors: 8 }; },
      disconnect: () => { calls.push('disconnect'); return hooks.disconnect?.(); },
      removed: () => { calls.push('removed'); },
    },
  });
  if (start) { backend.start(); await settle(); }
  return {
    store, backend, calls, log, state: () => store.read(`${BACK}/state`),
    front: async (state, keys = {}) => {
      store.transaction(t => { for (const [k, v] of Object.entries(keys)) t.write(`${FRONT}/${k}`, v); t.write(`${FRONT}/state`, String(state)); });
      await settle();
    },
    unplug: async () => { store.transaction(t => { t.write(`${BACK}/online`, '0'); t.write(`${BACK}/state`, '5'); }); await settle(); },
  };
}

describe('a backend\'s life', () => {
  it('blkfront: 1, 3, 4, 5, 6', async () => {
    const { store, calls, front, state } = await setup({ connect: f => ({ sectors: f.number('ring-ref') }) });
    expect([state(), store.read(`${BACK}/feature-x`)]).toEqual(['2', '1']);
    await front(3, { 'ring-ref': '8' });
    expect([state(), store.read(`${BACK}/sectors`)]).toEqual(['4', '8']);
    await front(4);
    await front(5);
    expect([state(), calls]).toEqual(['5', ['init', 'connect']]);
    await front(6);
    expect([state(), calls]).toEqual(['6', ['init', 'connect', 'disconnect']]);
  });
  it('netfront goes from 1 to 4 at once', async () => {
    const { front, state } = await setup();
    await front(4);
    expect(state()).toBe('4');
  });
  it('a frontend that comes back is served again', async () => {
    const { calls, front, state } = await setup();
    for (const s of [3, 4, 5, 6]) await front(s);
    await front(1);
    expect(state()).toBe('2');
    await front(3);
    expect([state(), calls]).toEqual(['4', ['init', 'connect', 'disconnect', 'connect']]);
  });
  it('a frontend that starts anew without closing too', async () => {
    const { calls, front, state } = await setup();
    await front(3);
    await front(1);
    expect([state(), calls]).toEqual(['2', ['init', 'connect', 'disconnect']]);
    await front(3);
    expect(state()).toBe('4');
  });
  it('starts when the frontend is already waiting, or not there yet', async () => {
    expect((await setup({}, '3')).state()).toBe('4');
    await made?.stop();
    const late = await setup({}, '');
    expect(late.state()).toBe('2');
    await late.front(3);
    expect(late.state()).toBe('4');
  });
  it('features and keys are there when the state says so', async () => {
    const s = await setup({}, '1', false);
    const seen: (string | undefined)[] = [];
    s.store.watch(`${BACK}/state`, '', () => { seen.push(`${s.state()} ${s.store.read(`${BACK}/feature-x`)} ${s.store.read(`${BACK}/sectors`)}`); });
    s.backend.start();
    await settle();
    await s.front(3);
    expect(seen.at(-2)).toBe('2 1 undefined');
    expect(seen.at(-1)).toBe('4 1 8');
  });
  it('what the frontend writes while connecting is looked at after', async () => {
    let go = (): void => {};
    const gate = new Promise<void>(resolve => { go = resolve; });
    const { calls, front, state } = await setup({ connect: async () => { await gate; return {}; } });
    await front(3);
    await front(6);
    expect(calls).toEqual(['init', 'connect']);
    go();
    await settle();
    expect([state(), calls]).toEqual(['6', ['init', 'connect', 'disconnect']]);
  });
});

describe('unplugging', () => {
  it('a connected frontend closes first', async () => {
    const { calls, front, state, unplug } = await setup();
    await front(4);
    await unplug();
    expect([state(), calls]).toEqual(['5', ['init', 'connect']]);
    await front(5);
    expect(calls.includes('disconnect')).toBe(false);
    await front(6);
    expect([state(), calls]).toEqual(['6', ['init', 'connect', 'disconnect', 'removed']]);
  });
  it.each(['1', '6', ''])('a frontend in state "%s" is not waited for', async frontState => {
    const { calls, state, unplug } = await setup({}, frontState);
    await unplug();
    expect([state(), calls.at(-1)]).toEqual(['6', 'removed']);
  });
  it('before it has started', async () => {
    const s = await setup({}, '1', false);
    s.store.write(`${BACK}/online`, '0');
    s.store.write(`${BACK}/state`, '5');
    s.backend.start();
    await settle();
    expect([s.state(), s.calls]).toEqual(['6', ['removed']]);
  });
  it('while it connects', async () => {
    let go = (): void => {};
    const gate = new Promise<void>(resolve => { go = resolve; });
    const { calls, front, state, unplug } = await setup({ connect: async () => { await gate; return { sectors: 1 }; } });
    await front(3);
    await unplug();
    go();
    await settle();
    expect(state()).toBe('5');
    await front(6);
    expect([state(), calls]).toEqual(['6', ['init', 'connect', 'disconnect', 'removed']]);
  });
  it('the guest shuts down after online=0', async () => {
    const { calls, front, state, store } = await setup();
    await front(4);
    store.write(`${BACK}/online`, '0');
    await settle();
    expect(state()).toBe('4');
    await front(6);
    expect([state(), calls.at(-1)]).toEqual(['6', 'removed']);
  });
  it('everything is torn away, in either order', async () => {
    for (const order of [[BACK, FRONT], [FRONT, BACK], ['/local/domain']]) {
      const { calls, front, store, log } = await setup();
      await front(4);
      for (const path of order) { store.remove(path); await settle(); }
      expect(calls).toEqual(['init', 'connect', 'disconnect', 'removed']);
      expect(store.exists(BACK)).toBe(false);
      expect(log.length).toBe(1);
    }
  });
  it('its nodes go while it connects: they do not come back', async () => {
    let go = (): void => {};
    const gate = new Promise<void>(resolve => { go = resolve; });
    const { calls, front, store } = await setup({ connect: async () => { await gate; return { sectors: 1 }; } });
    await front(3);
    store.remove(BACK);
    go();
    await settle();
    expect([store.exists(BACK), calls]).toEqual([false, ['init', 'connect', 'disconnect', 'removed']]);
  });
  it('stop() disconnects, once, and writes no more', async () => {
    const { backend, calls, front, state } = await setup();
    await front(4);
    await backend.stop();
    await backend.stop();
    await front(6);
    expect([state(), calls]).toEqual(['4', ['init', 'connect', 'disconnect']]);
  });
  it('stop() while connecting waits for it', async () => {
    let go = (): void => {};
    const gate = new Promise<void>(resolve => { go = resolve; });
    const { backend, calls, front, state } = await setup({ connect: async () => { await gate; return {}; } });
    await front(3);
    const stopped = backend.stop();
    go();
    await stopped;
    expect([state(), calls]).toEqual(['2', ['init', 'connect', 'disconnect']]);
  });
});

describe('errors', () => {
  it('what the frontend gets wrong is said in the error node, and the device can be used after', async () => {
    const { store, calls, front, state, log } = await setup({ connect: f => ({ x: f.number('ring-ref', { max: 100 }) }) });
    await front(3, { 'ring-ref': 'rub\nbish' });
    expect(state()).toBe('5');
    expect(store.read(ERROR)).toBe(`-22 ${FRONT}/ring-ref is "rub?bish", not a number from 0 to 100`);
    expect(log[0]).toContain('vbd/5/51712: ');
    await front(6);
    expect(state()).toBe('6');
    await front(1);
    expect([state(), store.exists(ERROR)]).toEqual(['2', false]);
    await front(3, { 'ring-ref': '7' });
    expect([state(), calls]).toEqual(['4', ['init', 'connect', 'disconnect', 'connect']]);
  });
  it('a device that cannot be opened says why and can be unplugged', async () => {
    const { store, state, unplug, calls } = await setup({ init: () => { throw new Error('disk.img: No such file or directory'); } });
    expect([state(), store.read(ERROR)]).toEqual(['5', '-22 disk.img: No such file or directory']);
    await unplug();
    expect([state(), calls]).toEqual(['6', ['init', 'removed']]);
  });
  it('a disconnect that fails does not stop the rest', async () => {
    const { state, front, log } = await setup({ disconnect: () => { throw new Error('busy'); } });
    await front(4);
    await front(6);
    expect(state()).toBe('6');
    expect(log.join()).toContain('busy');
  });
  it.each(['99', '-1', 'x', '', '4x', '7'])('the frontend state %j is no news', async text => {
    const { store, state, front, calls } = await setup();
    await front(4);
    if (text === '7') { store.write(`${FRONT}/state`, text); await settle(); expect(state()).toBe('4'); return; }
    store.write(`${FRONT}/state`, text);
    await settle();
    // Unknown is as good as closed: it is let go of, and nothing else happens.
    expect([state(), calls]).toEqual(['6', ['init', 'connect', 'disconnect']]);
  });
  it('a backend without a frontend says so', async () => {
    const s = await setup({}, '1', false);
    s.store.remove(`${BACK}/frontend`);
    s.backend.start();
    expect(s.store.read(ERROR)).toBe('-22 its directory names no frontend');
  });
});

describe('frontend details', () => {
  const details = (values: Record<string, string>): FrontendDetails => {
    const store = new XenstoreServer({ hypercalls: new FakeHypervisor().hypercalls }).client();
    for (const [key, value] of Object.entries(values)) store.write(`${FRONT}/${key}`, value);
    return new FrontendDetails(store, domid(5), FRONT);
  };
  it('are numbers in range, or refused', () => {
    const d = details({ a: '7', b: '4294967296', c: '-1', 'queue-0/tx-ring-ref': '9', one: '1' });
    expect([d.number('a'), d.number('none', { fallback: 3 }), d.number('queue-0/tx-ring-ref'), d.flag('one'), d.flag('none'), d.get('c')]).toEqual([7, 3, 9, true, false, '-1']);
    for (const key of ['b', 'c', 'none']) expect(() => d.number(key)).toThrow(FrontendError);
    expect(() => d.number('a', { max: 6 })).toThrow('not a number from 0 to 6');
  });
  it('know rings of one page and of several', () => {
    expect(details({ 'ring-ref': '8' }).ringRefs()).toEqual([8]);
    expect(details({ 'ring-page-order': '2', 'ring-ref0': '1', 'ring-ref1': '2', 'ring-ref2': '3', 'ring-ref3': '4' }).ringRefs({ maxOrder: 4 })).toEqual([1, 2, 3, 4]);
    expect(details({ 'ring-page-order': '0', 'ring-ref0': '6' }).ringRefs({ maxOrder: 4 })).toEqual([6]);
    expect(() => details({ 'ring-page-order': '5' }).ringRefs({ maxOrder: 4 })).toThrow(FrontendError);
    expect(() => details({ 'ring-page-order': '1', 'ring-ref0': '6' }).ringRefs({ maxOrder: 4 })).toThrow('ring-ref1 is missing');
  });
  it('map all pages of a ring or none', () => {
    const hypervisor = new FakeHypervisor(), five = domid(5);
    hypervisor.grant(5, 1); hypervisor.grant(5, 2);
    const refs = details({ 'ring-page-order': '1', 'ring-ref0': '1', 'ring-ref1': '2' }).ringRefs({ maxOrder: 4 });
    expect(mapRing(hypervisor.hypercalls, five, refs).length).toBe(2);
    expect(hypervisor.mappedCount).toBe(2);
    const bad = details({ 'ring-page-order': '1', 'ring-ref0': '1', 'ring-ref1': '99' }).ringRefs({ maxOrder: 4 });
    expect(() => mapRing(hypervisor.hypercalls, five, bad)).toThrow('grant reference 99 of d5 cannot be mapped (error -6)');
    expect(hypervisor.mappedCount).toBe(2);
  });
});
