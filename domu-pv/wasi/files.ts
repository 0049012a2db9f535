// The tree of files that a program sees: its root from a disk (root=) or the initrd, further disks where mount= says.
import type { Kernel } from '../kernel/kernel.ts';
import { Blkfront, findDisk } from '../front/blkfront.ts';
import { Ext2, NotExt2 } from '../fs/ext2.ts';
import { Ext2Nodes } from '../fs/ext2-node.ts';
import { Root } from '../fs/mounts.ts';
import type { FileNode } from '../fs/node.ts';
import type { CommandLine } from './command-line.ts';

const NS = 1_000_000_000n;

export class Files {
  readonly root: FileNode;
  readonly isEmpty: boolean;
  /** @throws Error with a sentence: a disk that is not there, or has no file system */
  constructor(kernel: Kernel, line: CommandLine, initrd: FileNode | undefined) {
    const mount = (device: string): FileNode => {
      const nodes = new Ext2Nodes(openDisk(kernel, device));
      kernel.atEnd(() => nodes.unmount());
      return nodes.root;
    };
    const top = line.root === undefined ? initrd : mount(line.root), mounts = new Map<string, FileNode>();
    for (const { name, device } of line.mounts) mounts.set(name, mount(device));
    if (line.root !== undefined && initrd) mounts.set('initrd', initrd);
    this.root = new Root(top, mounts);
    this.isEmpty = top === undefined && mounts.size === 0;
  }
}

function openDisk(kernel: Kernel, device: string): Ext2 {
  const path = findDisk(kernel, device);
  if (path === undefined) throw new Error(`there is no disk ${device}`);
  const disk = new Blkfront(kernel, path);
  try { return new Ext2(disk, () => kernel.clock.realNs() / NS); } catch (error) {
    if (error instanceof NotExt2) throw new Error(`disk ${device}: ${error.message}`);
    throw error;
  }
}
