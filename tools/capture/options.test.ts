import { expect, it } from 'vitest';
import { parseCaptureOptions } from './options.ts';

it.each([
  [['x.pcap'], { bridge: 'xenbr0', vif: undefined, file: 'x.pcap' }],
  [['--bridge', 'br1', '-'], { bridge: 'br1', vif: undefined, file: '-' }],
  [['--vif=web', 'x'], { bridge: 'xenbr0', vif: { domain: 'web', devid: 0 }, file: 'x' }],
  [['--vif', '5.1', 'x'], { bridge: 'xenbr0', vif: { domain: '5', devid: 1 }, file: 'x' }],
  [['--vif', 'my.web.2', 'x'], { bridge: 'xenbr0', vif: { domain: 'my.web', devid: 2 }, file: 'x' }],
])('%j', (argv, options) => { expect(parseCaptureOptions(argv)).toEqual(options); });
it('what is wrong is named', () => {
  for (const [argv, part] of [[[], 'which file'], [['a', 'b'], 'one file'], [['--bridge'], 'needs a value'], [['--bridge=a', '--vif=b', 'x'], 'not both'], [['--x', 'f'], 'unknown option --x']] as const) expect(() => parseCaptureOptions(argv)).toThrow(part);
});
