import { describe, expect, test } from 'vitest';
import { parseDiskSpec } from './disk-spec.ts';
import { vdevNumber } from './vdev.ts';
import { parseRate, parseVifSpec, parseVlan } from './vif-spec.ts';

const disk = (spec: string) => parseDiskSpec(spec, 't.cfg');

describe('disk specifications', () => {
  test.each(['/dev/vg/guest-volume,,hda', '/dev/vg/guest-volume,raw,hda,rw', 'format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume', 'raw:/dev/vg/guest-volume,hda,w', 'phy:/dev/vg/guest-volume,hda,w', '/dev/vg/guest-volume,hda,w'])(
    '%s', spec => expect(disk(spec)).toMatchObject({ target: '/dev/vg/guest-volume', format: 'raw', vdev: 'hda', readOnly: false, cdrom: false }));
  test.each(['/root/image.iso,,hdc,cdrom', '/root/image.iso,,hdc,,cdrom', '/root/image.iso,raw,hdc,devtype=cdrom', 'format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso', 'raw:/root/image.iso,hdc:cdrom,ro'])(
    '%s', spec => expect(disk(spec)).toMatchObject({ target: '/root/image.iso', format: 'raw', vdev: 'hdc', readOnly: true, cdrom: true }));
  test('an empty cdrom drive', () => expect(disk(',hdc:cdrom,r')).toMatchObject({ target: '', format: 'empty', vdev: 'hdc', cdrom: true }));
  test('target= takes the rest', () => expect(disk('vdev=xvda,target=/a,b=c, d').target).toBe('/a,b=c, d'));
  test('flags', () => expect(disk('/x,raw,xvda,w,no-discard,untrusted,direct-io-safe')).toMatchObject({ discard: false, trusted: false }));
  test.each([['/x,raw,xvda,w,extra', 'too many'], ['vdev=xvda,vdev=xvdb,target=/x', 'more than once'], ['raw,vdev=xvda', undefined], [',raw,xvda', 'no target']])('%s', (spec, message) => {
    if (message === undefined) expect(disk(spec).target).toBe('raw'); else expect(() => disk(spec)).toThrow(message);
  });
});

test.each([['xvda', 51712], ['xvdb1', 51729], ['xvdp15', 51967], ['xvdq', 268439552], ['xvdaa', 268442112], ['xvda16', 268435472], ['hda', 768], ['hdb', 832], ['hdc', 5632], ['sda1', 2049], ['d0p1', 51713], ['51712', 51712], ['0xca00', 51712]])(
  'vdev %s is %d', (name, number) => expect(vdevNumber(name)).toBe(number));
test.each(['zzz9', 'xvd', 'xvda256', 'hde', 'sdq', '', 'xvdA', '-1', '0'])('vdev %s is none', name => expect(vdevNumber(name)).toBeUndefined());

test('vif', () => {
  expect(parseVifSpec('mac=0:16:3E:0:0:1, bridge=xenbr0 ,mtu=9000,rate=10MB/s@20ms,model=e1000', 't')).toEqual({ mac: '00:16:3e:00:00:01', bridge: 'xenbr0', mtu: 9000, rate: { bytesPerInterval: 200000, intervalUsec: 20000 }, trusted: true });
  expect(parseRate('1Mb/s')).toEqual({ bytesPerInterval: 6250, intervalUsec: 50000 });
  expect(parseRate('1MB')).toBeUndefined();
  expect(parseVifSpec('vlan=10p/20-22,antispoof=1', 't')).toEqual({ vlan: '10p/20-22', antispoof: true, trusted: true });
  expect([parseVlan('10'), parseVlan('10p/20-22'), parseVlan('5/6')]).toEqual([{ untagged: 10, tagged: [] }, { untagged: 10, tagged: [20, 21, 22] }, { tagged: [5, 6] }]);
  for (const bad of ['', '0', '4095', '1-', '3-2', '1p/2p', '1-3p', 'x']) expect([bad, parseVlan(bad)]).toEqual([bad, undefined]);
});
