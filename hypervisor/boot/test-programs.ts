// Guest programs for tests of the threads, each with its source above it. All are entered
// with rsi = data page. Layout of the data page: 0 port bound to Dom0, 8 port of the program's own, 16 struct sched_poll
// on the first, 32 struct sched_poll on the second, 128 a counter; from 200 on whatever the program says.

const bytes = (hex: string): Uint8Array<ArrayBuffer> => Uint8Array.from(hex.match(/../g)!, h => parseInt(h, 16));
export const BASE = 0xffff_ffff_8000_0000n;
/** Pages of the guest: tables, code, data, and what VCPUOP_initialise reads; shared_info is mapped behind them. */
export const PAGE_OF = { l4: 0, l3: 1, l2: 2, l1: 3, code: 4, data: 5, context: 6, sharedInfo: 8 } as const;
export const DATA = { port: 0, own: 8, poll: 16, pollOwn: 32, counter: 128, bind: 200, lateness: 256, results: 296, flag: 400 } as const;
export const TIMER_ROUNDS = 20;

// start:  mov rbx, rsi; mov r15, shared_info
// again:  sched_op(poll, data + 16)
//         lock btr [r15 + evtchn_pending], port; jnc again
//         inc counter; event_channel_op(send, data); jmp again
/** Answers every event on its port by one. */
export const ECHO = bytes(
  '4889f349c7c700800080bf03000000488d7310b81d0000000f058b0bf0490fb38f0008000073e348ff8380000000bf040000004889deb8200000000f05ebcb');

// start:  mov rbx, rsi; mov r15, shared_info
//         event_channel_op(bind_virq, data + 200); own port = its result
// round:  rbp = rdtsc + 2 ms; set_timer_op(rbp); sched_op(poll, data + 32); lock btr pending
//         lateness[n] = rdtsc - rbp; 20 rounds
//         event_channel_op(send, data); then sched_op(poll) for ever
/** Takes the time, 20 times, from a timer's deadline to its event; then sends one itself. */
export const TIMER = bytes(
  '4889f349c7c700800080bf01000000488db3c8000000b8200000000f058b83d000000089430841be140000004c8dab000100000f3148c1e2204809d0488d'
  + 'a880841e004889efb80f0000000f05bf03000000488d7320b81d0000000f058b4b08f0490fb38f000800000f3148c1e2204809d04829e8498945004983'
  + 'c50841ffce75b1bf040000004889deb8200000000f05bf03000000488d7320b81d0000000f05ebee');

// start:  mov rbx, rsi; mov r15, shared_info
//         event_channel_op(bind_ipi, data + 200); own port = its result
//         results: vcpu_op(up, 1); vcpu_op(initialise, 1, data + 4096) twice; vcpu_op(up, 1)
// wait:   sched_op(yield) until the flag at 400
// again:  sched_op(poll, data + 16); lock btr pending; event_channel_op(send, own); jmp again
/** Brings up vCPU 1 and passes every event on to it as an IPI. */
export const FIRST_OF_TWO = bytes(
  '4889f349c7c700800080bf07000000488db3c8000000b8200000000f058b83cc000000894308bf01000000be01000000b8180000000f0548898328010000'
  + '31ffbe01000000488d9300100000b8180000000f054889833001000031ffbe01000000488d9300100000b8180000000f0548898338010000bf01000000'
  + 'be01000000b8180000000f054889834001000031ffb81d0000000f0583bb900100000074eebf03000000488d7310b81d0000000f058b0bf0490fb38f00'
  + '08000073e3bf04000000488d7308b8200000000f05ebd1');
// start:  flag = 1
// again:  sched_op(poll, data + 32); lock btr pending; inc counter; event_channel_op(send, data); jmp again
/** vCPU 1 of that program: answers each IPI by an event to Dom0. */
export const SECOND_OF_TWO = bytes(
  '4889f349c7c700800080c7839001000001000000bf03000000488d7320b81d0000000f058b4b08f0490fb38f0008000073e248ff8380000000bf04000000'
  + '4889deb8200000000f05ebca');

/** jmp self */
export const SPIN = bytes('ebfe');
/** ud2, with no handler registered. */
export const UNDEFINED = bytes('0f0b');
