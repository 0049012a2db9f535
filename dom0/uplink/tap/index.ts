// A TAP device by an open descriptor that whoever starts the host leaves open, `tap:fd=3`, or a macvtap device by its
// path, `tap:/dev/tap5`. One by its name: see named.ts.
import { close, createReadStream, open, write, type ReadStream } from 'node:fs';
import { promisify } from 'node:util';
import { MAX_FRAME_BYTES, type Attachment } from '../../switch/port.ts';
import type { LeaseView, Uplink } from '../uplink.ts';
import { UplinkError } from '../uplink-error.ts';
import type { Bridge } from '../user/index.ts';
import { NamedTap } from './named.ts';

/** Frames that wait to be written. */
const MAX_QUEUED = 256;

export class TapUplink implements Uplink {
  readonly kind = 'tap';
  readonly #fd: number;
  readonly #attachment: Attachment;
  readonly #reader: ReadStream;
  #queued = 0;
  readonly counters = { dropped: 0 };

  private constructor(bridge: Bridge, fd: number, log: (line: string) => void) {
    this.#fd = fd;
    this.#attachment = bridge.attach({
      name: 'tap', abilities: () => ({ blankChecksum: false, gsoV4: false, gsoV6: false }),
      deliver: frame => {
        if (this.#queued >= MAX_QUEUED) { this.counters.dropped++; return; }
        this.#queued++;
        const bytes = Buffer.from(frame.bytes);
        write(fd, bytes, 0, bytes.length, null, error => { this.#queued--; if (error) this.counters.dropped++; });
      },
    });
    // One read gives one frame.
    this.#reader = createReadStream('', { fd, highWaterMark: MAX_FRAME_BYTES, autoClose: false });
    this.#reader.on('data', data => this.#attachment.send({ bytes: data as Buffer, checksum: 'complete' }));
    this.#reader.on('error', error => log(`uplink tap: ${error.message}`));
  }

  /** @param options `fd=N`, the path of a macvtap device or the name of a TAP device @throws UplinkError */
  static async open(bridge: Bridge, options: string, log: (line: string) => void): Promise<Uplink> {
    const match = /^fd=(\d+)$/.exec(options);
    if (match) return new TapUplink(bridge, Number(match[1]), log);
    if (/^[A-Za-z][\w.-]{0,14}$/.test(options)) return NamedTap.open(bridge, options, log);
    if (!options.startsWith('/dev/tap')) throw new UplinkError('uplink tap: give it the name of a TAP device, tap:NAME, an open descriptor, tap:fd=N, or a macvtap device, tap:/dev/tapN; or use the uplink user, which needs no rights');
    try { return new TapUplink(bridge, await promisify(open)(options, 'r+'), log); } catch (error) {
      throw new UplinkError(`uplink tap: ${options} cannot be opened: ${(error as Error).message}`, { cause: error });
    }
  }

  leases(): ReadonlyMap<string, LeaseView> { return new Map(); }
  remember(): void { /* likewise */ }
  onLease(): void { /* whoever is on the other side hands addresses out */ }
  forgetGuest(): void { /* nothing is held */ }
  close(): void {
    this.#attachment.detach();
    this.#reader.destroy();
    close(this.#fd, () => {});
  }
}
