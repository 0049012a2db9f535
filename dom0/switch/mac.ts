// Ethernet addresses as numbers: 48 bits fit one exactly.
export const macAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! << 8 | bytes[at + 1]!) * 2 ** 32 + ((bytes[at + 2]! << 24 | bytes[at + 3]! << 16 | bytes[at + 4]! << 8 | bytes[at + 5]!) >>> 0);
/** The lowest bit of the first byte: multicast and broadcast. */
export const isGroup = (mac: number): boolean => Math.floor(mac / 2 ** 40) % 2 === 1;
/** `00:16:3e:00:00:01` as a number. */
export const macNumber = (text: string): number => Number(`0x${text.replaceAll(':', '')}`);
