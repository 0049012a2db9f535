// I/O ports of a domain without hardware: reads give all ones, writes go nowhere.

/** Counter 2 of the timer chip: Linux's fast TSC calibration polls it for a countdown from 0xff. */
const PIT_CHANNEL_2 = 0x42;

/**
 * Value read from a port. A counter that stands at zero (not at all ones) lets that calibration fail at its first
 * look instead of after 50,000 polls; the outcome is the same.
 */
export function readPort(port: number, bits: number): number {
  if (port === PIT_CHANNEL_2) return 0;
  return bits === 32 ? 0xffff_ffff : 2 ** bits - 1;
}
