// What a hostile neighbour does, and the work it is measured by.

/** Ways to spin, for the shell of the demo's guest: the processor, system calls and events, page tables, the disk. */
export const STORMS: Readonly<Record<string, string>> = {
  'a tight loop': 'while :; do :; done',
  'system calls': 'dd if=/dev/zero of=/dev/null bs=1',
  'fork and exec': 'while :; do /bin/busybox true; done',
  'reads of its disk': 'while :; do dd if=/dev/xvda of=/dev/null bs=512 count=2000 iflag=direct 2>/dev/null; done',
};
/** Puts one into the background, until STOP. */
export const startOf = (storm: string): string => `(${storm}) >/dev/null 2>&1 & echo $! >/tmp/storm`;
export const STOP = 'kill -9 $(cat /tmp/storm); killall -9 dd 2>/dev/null; sleep 1; true';

/** Reads of the disk, and a loop: a few seconds as a whole. @param part of that, up to 1 */
export const work = (part = 1): string => `dd if=/dev/xvda bs=64k count=${Math.ceil(64 * part)} iflag=direct 2>/dev/null | md5sum; i=0; while [ $i -lt ${Math.ceil(20000 * part)} ]; do i=$((i+1)); done; echo done`;
export const WORK_DONE = /^[0-9a-f]{32} {2}-\ndone\n$/;
