// Which files remote callers may name: those below the folders that the host was given, wherever links lead.
import { realpath, stat } from 'node:fs/promises';
import { isAbsolute, sep } from 'node:path';
import type { DiskConfig, DomainConfig } from '../toolstack/config/schema.ts';
import { ManagementError } from './errors.ts';

export class Roots {
  readonly folders: readonly string[];
  /** @param folders absolute paths */
  constructor(folders: readonly string[]) { this.folders = folders; }

  /** With every path as it is without links: what was checked is what is opened. @throws ManagementError 'path-refused' */
  async confine(config: DomainConfig): Promise<DomainConfig> {
    const kernel = await this.file(config.kernel), ramdisk = config.ramdisk === undefined ? undefined : await this.file(config.ramdisk);
    const disks: DiskConfig[] = [];
    for (const disk of config.disks) disks.push(await this.confineDisk(disk));
    return { ...config, kernel, ...(ramdisk === undefined ? {} : { ramdisk }), disks };
  }

  async confineDisk(disk: DiskConfig): Promise<DiskConfig> {
    return disk.target === '' && disk.format === 'empty' ? disk : { ...disk, target: await this.file(disk.target) };
  }

  /** One answer for all that is refused: it does not tell what there is outside. */
  async file(path: string): Promise<string> {
    const refuse = (): never => { throw new ManagementError('path-refused', this.folders.length === 0
      ? `${path} is refused: this host lets remote callers name no files (xenolith host --root FOLDER)` : `${path} is refused: it is no file below ${this.folders.join(' or ')}`); };
    if (!isAbsolute(path) || path.includes('\0') || path.split('/').includes('..')) return refuse();
    const real = await realpath(path).catch(refuse);
    for (const folder of this.folders) {
      const root = await realpath(folder).catch(() => undefined);
      if (root !== undefined && real.startsWith(root.endsWith(sep) ? root : root + sep) && (await stat(real).catch(refuse)).isFile()) return real;
    }
    return refuse();
  }
}
