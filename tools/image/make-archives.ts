// Small tar and Debian archives for tests.

interface Member { readonly path: string; readonly data?: string | Uint8Array; readonly type?: string; readonly link?: string }

export function makeTar(members: readonly Member[]): Buffer {
  const parts: Buffer[] = [];
  for (const m of members) {
    const data = Buffer.from(m.data ?? ''), h = Buffer.alloc(512);
    h.write(m.path, 0, 100, 'utf8');
    h.write('0000755\0', 100, 'latin1');
    h.write(`${data.length.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
    h.write(m.type ?? '0', 156, 'latin1');
    h.write(m.link ?? '', 157, 100, 'utf8');
    h.write('ustar\x0000', 257, 'latin1');
    parts.push(h, data, Buffer.alloc((512 - data.length % 512) % 512));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

export function makeAr(members: readonly (readonly [string, Uint8Array])[]): Buffer {
  const parts = [Buffer.from('!<arch>\n')];
  for (const [name, data] of members) {
    parts.push(Buffer.from(`${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(data.length).padEnd(10)}\`\n`), Buffer.from(data), Buffer.alloc(data.length % 2, '\n'));
  }
  return Buffer.concat(parts);
}

export const makeDeb = (name: string, data: Uint8Array): Buffer => makeAr([['debian-binary', Buffer.from('2.0\n')], ['control.tar', makeTar([])], [name, data]]);
