// HYPERVISOR_multicall(list, count): calls in a row, each with its result. multicall_entry: op, result, args[6].
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { copyInWords, copyOut64 } from '../mm/guest-access.ts';
import { EFAULT, EINVAL } from '../public/errno.ts';
import { invoke } from './invoke.ts';

const ENTRY_BYTES = 64n, ENTRY_WORDS = 8, COUNT_MAX = 4096n;
/** One is copied at a time and taken apart before its call runs. */
const entry = new BigUint64Array(ENTRY_WORDS);

export const multicall: HypercallHandler = (ctx, list, count) => {
  if (count > COUNT_MAX) return -EINVAL;
  for (let i = 0n; i < count; i++) {
    const at = list + i * ENTRY_BYTES;
    if (!copyInWords(ctx, at, entry, ENTRY_WORDS)) return -EFAULT;
    const result = invoke(ctx, Number(BigInt.asUintN(32, entry[0]!)), entry[2]!, entry[3]!, entry[4]!, entry[5]!, entry[6]!);
    const { continuation } = ctx.pv;
    if (continuation) {
      // The rest is done when the guest comes back: this entry keeps its continuation's arguments.
      ctx.pv.continuation = { call: 13, args: [at, count - i] };
      for (const [n, a] of continuation.args.entries()) if (!copyOut64(ctx, at + BigInt(16 + 8 * n), a)) return -EFAULT;
      return 0;
    }
    if (!copyOut64(ctx, at + 8n, BigInt.asUintN(64, BigInt(result)))) return -EFAULT;
  }
  return 0;
};
