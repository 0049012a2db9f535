// A frontend at full speed: as many disk requests as the ring takes, on frames granted once. Arguments: read or write,
// bytes of a request (4096 times 1 to 256), how many, how many at once, scattered or sequential. Says what came through.
// Or packets: send, their bytes, how many, whom to (its last address byte); receive, the bytes, how many at least.
import { Blkfront, findDisk, type Segment } from '../front/blkfront.ts';
import { writeEthernet } from '../../net/packet/ethernet.ts';
import { Netfront } from '../front/netfront.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { PAGE_BYTES } from '../kernel/heap.ts';
import { SECTORS_PER_PAGE } from '../../hypervisor/public/io/blkif.ts';

const NS = 1e9;
/** A stride that is prime to most sizes: neighbours are not asked for one after the other. */
const SCATTERED = 7919;

export function load(kernel: Kernel, args: readonly string[]): void {
  const [what = 'read', bytes = '4096', count = '10000', depth = '32', order = 'scattered'] = args;
  if (what === 'send' || what === 'receive') { packets(kernel, what === 'send', Number(bytes), Number(count), depth); return; }
  const path = findDisk(kernel, 'xvda');
  if (path === undefined) throw new Error('there is no disk xvda');
  const disk = new Blkfront(kernel, path);
  const rate = run(kernel, disk, what === 'write', Number(bytes), Number(count), Number(depth), order === 'sequential' ? 1 : SCATTERED);
  kernel.console.print(`${what} ${bytes} bytes: ${rate.perSecond.toFixed(0)} requests/s ${(rate.perSecond * Number(bytes) / 1e6).toFixed(1)} MB/s, ${rate.failed} failed\n`);
  disk.close();
}

function run(kernel: Kernel, disk: Blkfront, write: boolean, bytes: number, count: number, depthWanted: number, stride: number): { perSecond: number; failed: number } {
  const frames = bytes / PAGE_BYTES, depth = Math.min(depthWanted, disk.depth, Math.floor(kernel.heap.freeCount / frames));
  const slots = Array.from({ length: depth }, () => Array.from({ length: frames }, (): Segment => {
    const pfn = kernel.heap.allocate();
    return { gref: kernel.grants.grant(0, pfn), first: 0, last: SECTORS_PER_PAGE - 1 };
  }));
  const places = Math.floor(disk.sectors / (frames * SECTORS_PER_PAGE)), startNs = kernel.clock.systemNs();
  let started = 0, done = 0, failed = 0;
  kernel.events.critical(() => {
    while (done < count) {
      while (started < count && slots.length > 0 && disk.hasRoom) {
        const segments = slots.pop()!;
        const sector = started++ * stride % places * frames * SECTORS_PER_PAGE;
        disk.submit({ write, sector, segments }, ok => { done++; if (!ok) failed++; slots.push(segments); });
      }
      disk.push();
      kernel.events.waitFor(() => started < count ? slots.length > 0 && disk.hasRoom : done === count);
    }
  });
  return { perSecond: count / (Number(kernel.clock.systemNs() - startNs) / NS), failed };
}

/** Ethernet's for experiments: nobody answers. */
const ETHERTYPE = 0x88b5, QUIET_NS = 2_000_000_000n;
/** @param to Ethernet address of the receiver, as xenstore has it */
function packets(kernel: Kernel, send: boolean, bytes: number, count: number, to: string): void {
  const { events, clock } = kernel, net = new Netfront(kernel, `device/vif/${kernel.store.list('device/vif')[0]}`), frame = new Uint8Array(bytes);
  let done = 0, startNs = clock.systemNs(), lastNs = startNs;
  if (send) {
    writeEthernet(frame, Uint8Array.from(to.split(':'), part => parseInt(part, 16)), net.mac, ETHERTYPE);
    while (done < count) {
      events.waitFor(() => net.room > 0);
      for (let room = Math.min(net.room, count - done); room > 0; room--, done++) net.send({ bytes: frame, checksum: 'complete' });
    }
    lastNs = clock.systemNs();
  } else {
    // The switch learns where we are.
    writeEthernet(frame, new Uint8Array(6).fill(255), net.mac, ETHERTYPE);
    net.send({ bytes: frame, checksum: 'complete' });
    kernel.console.print('ready\n');
    let isNew = false;
    net.onReceive = () => { isNew = true; };
    while (done < count && events.waitFor(() => isNew, done === 0 ? undefined : clock.systemNs() + QUIET_NS)) {
      isNew = false;
      if (done === 0) startNs = clock.systemNs();
      net.take(f => { if (f.bytes.length === bytes) done++; });
      lastNs = clock.systemNs();
    }
  }
  kernel.console.print(`${send ? 'sent' : 'received'} ${done} of ${bytes} bytes: ${(done / (Number(lastNs - startNs) / NS)).toFixed(0)} packets/s\n`);
}
