// Virtual disk names and the numbers the frontend sees (xen-vbd-interface(7)).

const XVD_MAJOR = 202, IDE0_MAJOR = 3, IDE1_MAJOR = 22, SD_MAJOR = 8;
const EXTENDED = 2 ** 28;

/** Letters of a disk name to its index: a 0, z 25, aa 26. */
function letters(text: string): number {
  let index = 0;
  for (const ch of text) index = index * 26 + (ch.charCodeAt(0) - 96);
  return index - 1;
}

/** @returns the virtual-device number, or undefined if `vdev` names none. */
export function vdevNumber(vdev: string): number | undefined {
  const plain = /^(?:0x[0-9a-f]+|\d+)$/i.exec(vdev);
  if (plain) { const n = Number(vdev); return n > 0 && n < 2 ** 29 ? n : undefined; }
  const generic = /^d(\d+)(?:p(\d+))?$/.exec(vdev);
  const dev = /^(xvd|hd|sd)([a-z]{1,4})(\d{0,3})$/.exec(vdev);
  const disk = generic ? Number(generic[1]) : dev ? letters(dev[2]!) : -1;
  const partition = Number((generic ? generic[2] : dev?.[3]) || 0);
  const kind = generic ? 'xvd' : dev?.[1];
  if (disk < 0 || partition > 255) return undefined;
  if (kind === 'xvd') {
    if (disk < 16 && partition < 16) return XVD_MAJOR * 256 + disk * 16 + partition;
    return disk < 2 ** 20 ? EXTENDED + disk * 256 + partition : undefined;
  }
  if (kind === 'hd' && disk < 4 && partition < 64) return (disk < 2 ? IDE0_MAJOR : IDE1_MAJOR) * 256 + (disk & 1) * 64 + partition;
  if (kind === 'sd' && disk < 16 && partition < 16) return SD_MAJOR * 256 + disk * 16 + partition;
  return undefined;
}
