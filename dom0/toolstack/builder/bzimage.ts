// A Linux bzImage: the setup header says where in the file the compressed vmlinux lies (boot protocol 2.08 on).
import { BuilderError } from './builder-error.ts';

const OFFSET = { setupSects: 0x1f1, bootFlag: 0x1fe, magic: 0x202, version: 0x206, payloadOffset: 0x248, payloadLength: 0x24c } as const;
const HDRS = 0x53726448;

const view = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.byteLength);

/** True when `bytes` starts with a Linux setup header ("HdrS" at 0x202). */
export function isBzImage(bytes: Uint8Array): boolean {
  return bytes.length >= 0x206 && view(bytes).getUint32(OFFSET.magic, true) === HDRS;
}

/** The payload inside a bzImage. Throws when the header points outside the file. */
export function bzImagePayload(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 0x250) throw new BuilderError('kernel-truncated', 'is a bzImage that ends inside its setup header; the file is truncated');
  const v = view(bytes);
  const version = v.getUint16(OFFSET.version, true);
  if (version < 0x0208) throw new BuilderError('kernel-not-recognised', `is a bzImage of boot protocol ${version >> 8}.${String(version & 0xff).padStart(2, '0')}; 2.08 (Linux 2.6.24) or newer is needed`);
  // A zero stands for four sectors, for images older than the field.
  const setup = ((v.getUint8(OFFSET.setupSects) || 4) + 1) * 512;
  const start = setup + v.getUint32(OFFSET.payloadOffset, true);
  const length = v.getUint32(OFFSET.payloadLength, true);
  if (length === 0) throw new BuilderError('kernel-not-recognised', 'is a bzImage without a payload');
  if (start + length > bytes.length) {
    throw new BuilderError('kernel-truncated', `is a truncated bzImage: its payload should end at byte ${start + length}, the file at ${bytes.length}; fetch or copy it again`);
  }
  return bytes.subarray(start, start + length);
}
