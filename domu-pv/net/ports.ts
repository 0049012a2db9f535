// Port numbers for those who do not care which (RFC 6335): from a random place on.
import type { ProgramVcpu } from '../../hypervisor/public/program.ts';
import { u16 } from '../../net/packet/bytes.ts';
import { SocketError } from './socket-error.ts';

const FIRST = 49_152, COUNT = 65_536 - FIRST;

export class EphemeralPorts {
  #next: number;
  constructor(vcpu: ProgramVcpu) {
    const b = new Uint8Array(2);
    vcpu.randomBytes(b);
    this.#next = u16(b, 0) % COUNT;
  }
  /** @throws SocketError when none is free */
  next(isFree: (port: number) => boolean): number {
    for (let tries = 0; tries < COUNT; tries++) {
      const port = FIRST + this.#next;
      this.#next = (this.#next + 1) % COUNT;
      if (isFree(port)) return port;
    }
    throw new SocketError('full');
  }
}
