// A domain's configuration as `xl list -l` and `xl create -n` print it: libxl's JSON, with its spelling and layout.
import type { DomainView } from '../../dom0/toolstack/action.ts';
import type { DomainConfig, EventAction } from '../../dom0/toolstack/config/schema.ts';

type Json = string | number | Json[] | { [key: string]: Json };

/** yajl's layout: four spaces, and a blank line inside an empty object. */
export function libxlStringify(value: Json, indent = ''): string {
  const inner = `${indent}    `;
  if (Array.isArray(value)) return value.length === 0 ? `[\n\n${indent}]` : `[\n${value.map(v => inner + libxlStringify(v, inner)).join(',\n')}\n${indent}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value);
    return entries.length === 0 ? `{\n\n${indent}}` : `{\n${entries.map(([k, v]) => `${inner}${JSON.stringify(k)}: ${libxlStringify(v, inner)}`).join(',\n')}\n${indent}}`;
  }
  return JSON.stringify(value);
}

const INVALID_DOMID = 4294967295;
/** libxl's own default, which its JSON leaves out. */
const DEFAULT_ACTION: EventAction = 'destroy';

/** @param live a running domain's description has more fields than a file's */
export function configJson(config: DomainConfig, live: boolean): Json {
  const disks: Json[] = config.disks.map(d => ({
    pdev_path: d.target, vdev: d.vdev, ...(d.backendType ? { backend: d.backendType } : {}), format: d.format,
    ...(d.cdrom ? { removable: 1, is_cdrom: 1 } : {}), ...(d.readOnly ? {} : { readwrite: 1 }), ...(live ? { colo_restore_enable: 'False' } : {}),
  }));
  const nics: Json[] = config.vifs.map((v, devid) => ({
    devid: v.devid ?? devid, ...(v.mac ? { mac: v.mac } : {}), ...(v.bridge ? { bridge: v.bridge } : {}), ...(live ? { nictype: 'vif' } : {}),
  }));
  const actions: Record<string, Json> = {};
  for (const [key, action] of [['on_poweroff', config.onPoweroff], ['on_reboot', config.onReboot], ['on_watchdog', config.onWatchdog], ['on_crash', config.onCrash], ['on_soft_reset', config.onSoftReset]] as const)
    if (action !== DEFAULT_ACTION) actions[key] = action.replaceAll('-', '_');
  return {
    c_info: { type: 'pv', name: config.name, ...(live ? { domid: INVALID_DOMID } : {}), uuid: config.uuid, run_hotplug_scripts: 'True' },
    b_info: {
      ...(live ? { max_vcpus: config.maxVcpus, avail_vcpus: Array.from({ length: config.vcpus }, (_, i) => i) } : config.maxVcpus > 1 ? { max_vcpus: config.maxVcpus, avail_vcpus: Array.from({ length: config.vcpus }, (_, i) => i) } : {}),
      max_memkb: config.maxMemKib, target_memkb: config.memoryKib, ...(live ? { video_memkb: 0 } : {}),
      sched_params: live ? { sched: 'credit2', weight: config.weight, cap: config.cap } : { ...(config.weight !== 256 ? { weight: config.weight } : {}), ...(config.cap ? { cap: config.cap } : {}) },
      claim_mode: 'True', kernel: config.kernel, ...(config.cmdline ? { cmdline: config.cmdline } : {}), ...(config.ramdisk ? { ramdisk: config.ramdisk } : {}),
      'type.pv': {}, arch_arm: {}, arch_x86: live ? { msr_relaxed: 'False' } : {},
    },
    ...(disks.length > 0 ? { disks } : {}), ...(nics.length > 0 ? { nics } : {}), ...actions,
  };
}

export const domainJson = (domain: DomainView, config: DomainConfig): Json => ({ domid: domain.domid, config: configJson(config, true) });

export const dom0Json = (domain: DomainView): Json => ({
  domid: 0,
  config: {
    c_info: { type: 'pv', name: domain.name },
    b_info: { max_memkb: domain.maxMemKib, target_memkb: domain.memKib, sched_params: { sched: 'credit2', weight: domain.weight, cap: domain.cap }, 'type.pv': {}, arch_arm: {}, arch_x86: {} },
  },
});
