// What `xl info` says of the host.
import { readFileSync } from 'node:fs';
import { arch, hostname, release, version } from 'node:os';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { HostView } from './action.ts';

/** The Xen interface version that guests are told. */
export const XEN_MAJOR = 4, XEN_MINOR = 17, XEN_EXTRA = '.7';
const MACHINES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64', ia32: 'i686' };

export function hostView(hypercalls: Dom0Hypercalls, pid: number): HostView {
  const phys = hypercalls.physInfo();
  return {
    host: hostname(), release: release(), version: version(), machine: MACHINES[arch()] ?? arch(),
    cpus: phys.pcpus, cpuMhz: phys.cpuKhz / 1000, totalMemKib: phys.totalKib, freeMemKib: phys.freeKib,
    hwCaps: '00000000:00000000:00000000:00000000:00000000:00000000:00000000:00000000',
    xenMajor: XEN_MAJOR, xenMinor: XEN_MINOR, xenExtra: XEN_EXTRA, scheduler: 'credit2', capabilities: 'xen-3.0-x86_64 ',
    commandLine: '', changeset: '', compiler: `Node ${process.version}, V8 ${process.versions.v8}`, buildId: PACKAGE_VERSION,
    pid, uptimeSec: Number(hypercalls.systemTimeNs() / 1_000_000_000n),
  };
}

/** Read once: the host that runs stays the one it is. */
const PACKAGE_VERSION = packageVersion();

function packageVersion(): string {
  for (const up of ['../../package.json', '../../../package.json']) {
    try { return (JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8')) as { version?: string }).version ?? ''; } catch { continue; }
  }
  return '';
}
