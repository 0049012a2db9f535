// HYPERVISOR_set_trap_table(traps): struct trap_info { u8 vector; u8 flags; u16 cs; u64 address at 8 }, ended by an
// entry with address 0. Flags: bits 0-1 privilege level, bit 2 masks event upcalls on entry.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { EFAULT, EINVAL } from '../public/errno.ts';
import { isCanonicalAddress } from '../mm/address.ts';
import { copyIn } from '../mm/guest-access.ts';

const ENTRY_BYTES = 16;
/** More than any table needs; a list without an end must not hold the processor. */
const MAX_ENTRIES = 4096;
const TI_MASKS_EVENTS = 4;

export const set_trap_table: HypercallHandler = (ctx, traps) => {
  const table = ctx.pv.traps;
  if (traps === 0n) {
    for (const gate of table) Object.assign(gate, { address: 0n, masksEvents: false, dpl: 0, cs: 0 });
    return 0;
  }
  for (let i = 0; i < MAX_ENTRIES; i++) {
    const entry = copyIn(ctx, traps + BigInt(i * ENTRY_BYTES), ENTRY_BYTES);
    if (entry === undefined) return -EFAULT;
    const address = entry.getBigUint64(8, true);
    if (address === 0n) return 0;
    if (!isCanonicalAddress(address)) return -EINVAL;
    const flags = entry.getUint8(1);
    Object.assign(table[entry.getUint8(0)]!, {
      address, masksEvents: (flags & TI_MASKS_EVENTS) !== 0, dpl: flags & 3, cs: entry.getUint16(2, true) | 3,
    });
  }
  return -EINVAL;
};
