// xl's tables, column for column as scripts know them.
import type { SchedulerView } from '../../dom0/api/devices-contract.ts';
import type { DomainView, HostView, VifView } from '../../dom0/toolstack/action.ts';

const KIB_PER_MIB = 1024;
const left = (text: string | number, width: number): string => String(text).padEnd(width);
const right = (text: string | number, width: number): string => String(text).padStart(width);

/** Letters rbpscd, `-` where a state does not hold. */
export function stateLetters(d: DomainView): string {
  return (d.running ? 'r' : '-') + (d.blocked ? 'b' : '-') + (d.paused ? 'p' : '-') + (d.shutdown ? 's' : '-') + (d.crashed ? 'c' : '-') + (d.dying ? 'd' : '-');
}

export function listTable(domains: readonly DomainView[], verbose: boolean): string {
  const header = `Name                                        ID   Mem VCPUs\tState\tTime(s)${verbose ? '   UUID                            Reason-Code\tSecurity Label' : ''}`;
  const rows = domains.map(d => {
    const row = `${left(d.name, 40)} ${right(d.domid, 5)} ${right(Math.round(d.memKib / KIB_PER_MIB), 5)} ${right(d.vcpusOnline || d.vcpus, 5)}     ${stateLetters(d)}  ${right(d.cpuTimeSec.toFixed(1), 8)}`;
    return verbose ? `${row} ${d.uuid} ${right(d.shutdownReason === undefined ? '-' : d.shutdownReason.toString(16), 8)} ${right('-', 16)}` : row;
  });
  return [header, ...rows, ''].join('\n');
}

export function vcpuTable(domains: readonly DomainView[], cpus: number): string {
  const rows = domains.flatMap(d => Array.from({ length: d.vcpus }, (_, vcpu) => {
    const online = vcpu < d.vcpusOnline, state = online ? `${d.running ? 'r' : '-'}${d.blocked ? 'b' : '-'}${d.paused ? 'p' : '-'}` : '--p';
    // The hypervisor accounts for time by domain, so only a single vCPU's own time is known.
    const time = d.vcpus === 1 ? d.cpuTimeSec.toFixed(1) : '-';
    return `${left(d.name, 32)} ${right(d.domid, 5)} ${right(vcpu, 5)} ${right(online && d.running ? vcpu % cpus : '-', 4)}   ${state} ${right(time, 9)}  all / all`;
  }));
  return ['Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)', ...rows, ''].join('\n');
}

export const vmTable = (domains: readonly DomainView[]): string =>
  ['UUID                                  ID    name', ...domains.filter(d => d.domid !== 0).map(d => `${d.uuid}  ${d.domid}    ${left(d.name, 30)}`), ''].join('\n');

export function blockTable(d: DomainView): string {
  const columns = (vdev: string | number, be: string | number, handle: string | number, state: string | number, evtch: string | number, ring: string | number, path: string): string =>
    `${left(vdev, 5)} ${left(be, 3)} ${left(handle, 6)} ${left(state, 5)} ${left(evtch, 6)} ${left(ring, 8)} ${left(path, 30)}`;
  return [columns('Vdev', 'BE', 'handle', 'state', 'evt-ch', 'ring-ref', 'BE-path'),
    ...d.disks.map(disk => columns(disk.devid, 0, d.domid, disk.state, disk.eventChannel, disk.ringRef, disk.backendPath)), ''].join('\n');
}

/** As xl's, and behind it the addresses that this host's own uplinks have handed out, where they have. */
export function networkTable(vifs: readonly VifView[]): string {
  const header = `Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref ${left('BE-path', 30)}${vifs.some(v => v.addresses.length > 0) ? ' Addresses' : ''}`;
  return [header, ...vifs.map(v => [
    `${left(v.devid, 3)} ${left(0, 2)} ${left(v.mac, 17)} ${right(v.devid, 5)} ${right(v.state, 5)} ${right(v.eventChannel, 6)} ${right(v.txRingRef, 5)}/${left(v.rxRingRef, 11)} ${left(v.backendPath, 30)}`, ...v.addresses,
  ].join(' ')), ''].join('\n');
}

/** @param pool with the line of the CPU pool first */
export function schedulerTable({ rateLimitUs, domains }: SchedulerView, poolOnly: boolean, pool = true): string {
  const line = (name: string, id: string | number, weight: string | number, cap: string | number): string => `${left(name, 33)} ${right(id, 4)} ${right(weight, 6)} ${right(cap, 4)}`;
  return [...(pool ? [`Cpupool Pool-0: ratelimit=${rateLimitUs}us`] : []), ...(poolOnly ? [] : [line('Name', 'ID', 'Weight', 'Cap'), ...domains.map(d => line(d.name, d.domid, d.weight, d.cap))]), ''].join('\n');
}

export function uptimeTable(domains: readonly DomainView[], short: boolean, now: Date): string {
  const clock = now.toTimeString().slice(0, 8);
  const rows = domains.map(d => {
    const days = Math.floor(d.uptimeSec / 86400), hours = Math.floor(d.uptimeSec / 3600) % 24;
    const minutes = String(Math.floor(d.uptimeSec / 60) % 60).padStart(2, '0'), seconds = String(Math.floor(d.uptimeSec) % 60).padStart(2, '0');
    const dayText = days > 0 ? `${days} day${days > 1 ? 's' : ''}, ` : '';
    if (short) return ` ${clock} up ${dayText}${right(hours, 2)}:${minutes}, ${d.name} (${d.domid})`;
    return `${left(d.name, 32)} ${right(d.domid, 5)} ${dayText}${right(hours, 2)}:${minutes}:${seconds}`;
  });
  return [...(short ? [] : ['Name                                ID Uptime']), ...rows, ''].join('\n');
}

export function infoTable(host: HostView, numa: boolean): string {
  const mib = (kib: number): number => Math.floor(kib / KIB_PER_MIB);
  const line = (key: string, value: string | number): string => `${left(key, 23)}: ${value}`;
  const before = [
    line('host', host.host), line('release', host.release), line('version', host.version), line('machine', host.machine),
    line('nr_cpus', host.cpus), line('max_cpu_id', host.cpus - 1), line('nr_nodes', 1), line('cores_per_socket', host.cpus),
    line('threads_per_core', 1), line('cpu_mhz', host.cpuMhz.toFixed(3)), line('hw_caps', host.hwCaps), line('virt_caps', 'pv gnttab-v1'),
    line('total_memory', mib(host.totalMemKib)), line('free_memory', mib(host.freeMemKib)), line('sharing_freed_memory', 0),
    line('sharing_used_memory', 0), line('outstanding_claims', 0), line('free_cpus', 0),
  ];
  const topology = !numa ? [] : ['cpu_topology           :', 'cpu:    core    socket     node',
    ...Array.from({ length: host.cpus }, (_, cpu) => `${right(cpu, 3)}:${right(cpu, 8)}${right(0, 9)}${right(0, 9)}`),
    'device topology        :', 'device           node', 'No device topology data available', 'numa_info              :',
    'node:    memsize    memfree    distances', `${right(0, 4)}:${right(mib(host.totalMemKib), 10)} ${right(mib(host.freeMemKib), 10)}      10`];
  const after = [
    line('xen_major', host.xenMajor), line('xen_minor', host.xenMinor), line('xen_extra', host.xenExtra),
    line('xen_version', `${host.xenMajor}.${host.xenMinor}${host.xenExtra}`), line('xen_caps', host.capabilities), line('xen_scheduler', host.scheduler),
    line('xen_pagesize', 4096), line('platform_params', 'virt_start=0xffff800000000000'), line('xen_changeset', host.changeset),
    line('xen_commandline', host.commandLine), line('cc_compiler', host.compiler), line('cc_compile_by', ''), line('cc_compile_domain', ''),
    line('cc_compile_date', ''), line('build_id', host.buildId), line('xend_config_format', 4),
  ];
  return [...before, ...topology, ...after, ''].join('\n');
}

const TOP_HEADER = '      NAME  STATE   CPU(sec) CPU(%)     MEM(k) MEM(%)  MAXMEM(k) MAXMEM(%) VCPUS NETS NETTX(k) NETRX(k) VBDS   VBD_OO   VBD_RD   VBD_WR  VBD_RSECT  VBD_WSECT SSID';

/** xentop's batch form. @param cpuPercent share of one processor since the last sample, by domid */
export function topTable(domains: readonly DomainView[], totalMemKib: number, cpuPercent: ReadonlyMap<number, number>): string {
  const rows = domains.map(d => {
    const sum = (key: string): number => d.disks.reduce((n, disk) => n + (disk.counters[key] ?? 0), 0);
    const net = (key: string): number => Math.floor(d.vifs.reduce((n, vif) => n + (vif.counters[key] ?? 0), 0) / 1024);
    const state = `${d.dying ? 'd' : '-'}${d.shutdown ? 's' : '-'}${d.blocked ? 'b' : '-'}${d.crashed ? 'c' : '-'}${d.paused ? 'p' : '-'}${d.running ? 'r' : '-'}`;
    return `${right(d.name.slice(0, 10), 10)} ${state} ${right(Math.floor(d.cpuTimeSec), 10)} ${right((cpuPercent.get(d.domid) ?? 0).toFixed(1), 6)} ${right(d.memKib, 10)} ${right((100 * d.memKib / totalMemKib).toFixed(1), 6)} ${right(d.maxMemKib, 10)} ${right((100 * d.maxMemKib / totalMemKib).toFixed(1), 9)} ${right(d.vcpus, 5)} ${right(d.vifs.length, 4)} ${right(net('tx_bytes'), 8)} ${right(net('rx_bytes'), 8)} ${right(d.disks.length, 4)} ${right(sum('oo_req'), 8)} ${right(sum('rd_req'), 8)} ${right(sum('wr_req'), 8)} ${right(sum('rd_sect'), 10)} ${right(sum('wr_sect'), 10)} ${right(0, 4)}`;
  });
  return [TOP_HEADER, ...rows, ''].join('\n');
}
