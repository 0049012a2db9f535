// Time: system time is the TSC, scaled as vcpu_time_info says (here by one); the time of day is what shared_info says
// it was at system time 0 (public/xen.h).
import { shared_info } from '../../hypervisor/public/layouts.ts';
import type { ProgramVcpu } from '../../hypervisor/public/program.ts';

const { fields } = shared_info, NS = 1_000_000_000n;

export class Clock {
  readonly #vcpu: ProgramVcpu; readonly #shared: DataView;
  readonly #startNs: bigint;
  constructor(vcpu: ProgramVcpu, sharedInfo: Uint8Array<SharedArrayBuffer>) {
    this.#vcpu = vcpu;
    this.#shared = new DataView(sharedInfo.buffer, sharedInfo.byteOffset, sharedInfo.length);
    this.#startNs = vcpu.readTsc();
  }
  /** Nanoseconds since the host started. */
  systemNs(): bigint { return this.#vcpu.readTsc(); }
  /** Nanoseconds since this domain did. */
  uptimeNs(): bigint { return this.#vcpu.readTsc() - this.#startNs; }
  /** Nanoseconds since 1970. An odd version, or another after than before: the hypervisor was writing. */
  realNs(): bigint {
    for (;;) {
      const version = this.#shared.getUint32(fields.wc_version, true);
      const sec = BigInt(this.#shared.getUint32(fields.wc_sec, true)) | BigInt(this.#shared.getUint32(fields.wc_sec_hi, true)) << 32n;
      const ns = BigInt(this.#shared.getUint32(fields.wc_nsec, true));
      if (!(version & 1) && version === this.#shared.getUint32(fields.wc_version, true)) return sec * NS + ns + this.systemNs();
    }
  }
}
