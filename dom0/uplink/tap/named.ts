// A TAP device by its name, `tap:tap0`. Naming one takes an ioctl on /dev/net/tun, which Node has no call for: a few
// lines of Perl, which every Debian has, make it and carry frames between the device and their standard streams. It is
// there for whom root made it: ip tuntap add dev tap0 mode tap user NAME.
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import type { Attachment } from '../../switch/port.ts';
import { framed, FrameReader } from '../socket/stream.ts';
import type { LeaseView, Uplink } from '../uplink.ts';
import { UplinkError } from '../uplink-error.ts';
import type { Bridge } from '../user/index.ts';

/** TUNSETIFF, IFF_TAP | IFF_NO_PI. */
const PUMP = `
use strict;
sysopen(my $tap, '/dev/net/tun', 2) or die "/dev/net/tun: $!\\n";
my $request = pack('Z16 S x22', $ARGV[0], 0x1002);
ioctl($tap, 0x400454ca, $request) or die "$ARGV[0]: $!\\n";
binmode STDIN; binmode STDOUT;
syswrite STDERR, "ready\\n";
my ($tapBit, $inBit, $held) = (fileno($tap), fileno(STDIN), '');
for (;;) {
  my $set = '';
  vec($set, $tapBit, 1) = 1;
  vec($set, $inBit, 1) = 1;
  select($set, undef, undef, undef) > 0 or next;
  if (vec($set, $tapBit, 1)) {
    defined sysread($tap, my $frame, 65553) or $!{EINTR} or $!{EAGAIN} or exit;
    length $frame or next;
    my $out = pack('N/a*', $frame);
    while (length $out) { my $n = syswrite(STDOUT, $out); defined $n or exit; substr($out, 0, $n, ''); }
  }
  next unless vec($set, $inBit, 1);
  sysread(STDIN, $held, 1 << 18, length $held) or exit;
  while (length $held >= 4 && length $held >= 4 + unpack('N', $held)) {
    my $n = unpack('N', $held);
    syswrite $tap, $held, $n, 4;
    substr($held, 0, 4 + $n, '');
  }
}
`;
/** Bytes that wait for the device. */
const MAX_WAITING_BYTES = 1024 * 1024;

export class NamedTap implements Uplink {
  readonly kind = 'tap';
  readonly counters = { dropped: 0 };
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #attachment: Attachment;

  private constructor(bridge: Bridge, name: string, child: ChildProcessByStdio<Writable, Readable, Readable>, log: (line: string) => void) {
    this.#child = child;
    this.#attachment = bridge.attach({
      name, abilities: () => ({ blankChecksum: false, gsoV4: false, gsoV6: false }),
      deliver: frame => { if (child.stdin.writableLength > MAX_WAITING_BYTES) this.counters.dropped++; else child.stdin.write(framed(frame.bytes)); },
    });
    const reader = new FrameReader(bytes => this.#attachment.send({ bytes, checksum: 'complete' }));
    child.stdout.on('data', (data: Buffer) => { reader.feed(data); });
    child.stdin.on('error', () => { /* it has ended, which is said below */ });
    child.on('exit', () => { this.#attachment.detach(); log(`uplink tap: ${name} is gone`); });
  }

  /** @throws UplinkError */
  static async open(bridge: Bridge, name: string, log: (line: string) => void): Promise<NamedTap> {
    const child = spawn('perl', ['-e', PUMP, name], { stdio: ['pipe', 'pipe', 'pipe'] });
    const said = once(child.stderr, 'data').then(([data]) => (data as Buffer).toString().trim()), failed = once(child, 'error').then(([error]) => (error as Error).message);
    const first = await Promise.race([said, failed]).catch((error: Error) => error.message);
    if (first !== 'ready') { child.kill(); throw new UplinkError(`uplink tap: ${first}. Root makes a device for you with: ip tuntap add dev ${name} mode tap user NAME`); }
    return new NamedTap(bridge, name, child, log);
  }

  leases(): ReadonlyMap<string, LeaseView> { return new Map(); }
  remember(): void { /* whoever is on the other side hands addresses out */ }
  onLease(): void { /* likewise */ }
  forgetGuest(): void { /* nothing is held */ }
  close(): void {
    this.#attachment.detach();
    this.#child.removeAllListeners('exit');
    this.#child.kill();
  }
}
