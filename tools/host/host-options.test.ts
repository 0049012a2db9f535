import { expect, test } from 'vitest';
import { parseHostOptions } from './host-options.ts';

test('options of host', () => {
  expect(parseHostOptions([], {})).toEqual({ bridges: [{ name: 'xenbr0', uplink: 'user' }], roots: [], jit: 'native', help: false });
  expect(parseHostOptions(['--bridge', 'a=none', '--bridge=b=user:net=10.0.3.0/24']).bridges).toEqual([{ name: 'a', uplink: 'none' }, { name: 'b', uplink: 'user:net=10.0.3.0/24' }]);
  expect(parseHostOptions(['--listen', '[::1]:8443', '--root', '/srv/a', '--root=/srv/b/../c'])).toMatchObject({ listen: { host: '::1', port: 8443 }, roots: ['/srv/a', '/srv/c'] });
  expect(parseHostOptions(['--listen=host.example:0', '--tls-cert', '/c', '--tls-key', '/k']).listen).toEqual({ host: 'host.example', port: 0, certFile: '/c', keyFile: '/k' });
  expect([[], ['--jit', 'force']].map(argv => parseHostOptions(argv, { XENOLITH_JIT: 'off' }).jit)).toEqual(['off', 'force']);
  expect(() => parseHostOptions([], { XENOLITH_JIT: 'no' })).toThrow('XENOLITH_JIT is one of native, on, off, force, native-force, not "no"');
  for (const bad of [['--listen'], ['--listen', '8443'], ['--listen', '::1:8443'], ['--listen', 'a:99999'], ['--listen', 'a:1', '--listen', 'b:1'], ['--tls-cert', '/c'], ['--listen', 'a:1', '--tls-key', '/k'], ['--tls-cert', '/c', '--tls-key', '/k'], ['--root'], ['--bridge', 'a'], ['--bridge', 'a=none', '--bridge', 'a=none'], ['x'], ['--jit', 'yes'], ['--jit']]) expect(() => parseHostOptions(bad)).toThrow();
});
