// Parameter names of xl.cfg(5), by what this host does with them.

/** Acted on. */
export const SUPPORTED_KEYS: ReadonlySet<string> = new Set(`
  name type builder uuid vcpus maxvcpus memory maxmem kernel ramdisk cmdline root extra disk vif cpus cpus_soft
  cpu_weight cap on_poweroff on_reboot on_crash on_watchdog on_soft_reset bootloader bootloader_args`.trim().split(/\s+/));

/** Devices and policies that exist on other hosts; given here they draw a warning and change nothing. */
export const UNSUPPORTED_KEYS: ReadonlySet<string> = new Set(`
  pci usbctrl usbdev vfb vkb vtpm p9 pvcalls vdispl vsnd channel vnuma rdm irqs ioports iomem dtdev device_tree
  pool seclabel init_seclabel driver_domain passthrough nomigrate vuart`.trim().split(/\s+/));

/** Mean nothing to a PV guest, or only tune a detail: accepted in silence so that existing files work. */
export const IGNORED_KEYS: ReadonlySet<string> = new Set(`
  acpi acpi_firmware acpi_laptop_slate acpi_s3 acpi_s4 altp2m altp2mhvm apic bios bios_path_override boot cpuid
  device_model_args device_model_args_hvm device_model_args_pv device_model_override device_model_stubdomain_override
  device_model_stubdomain_seclabel device_model_user device_model_version dm_restrict e820_host firmware gfx_passthru
  gic_version hap hdtype hpet keymap localtime max_event_channels max_grant_frames max_grant_version
  max_maptrack_frames mca_caps mmio_hole ms_vm_genid msr_relaxed nestedhvm nographic nx oos opengl pae
  pci_msitranslate pci_permissive pci_power_mgmt pci_seize pvshim pvshim_cmdline pvshim_extra pvshim_path
  rdm_mem_boundary rtc_timeoffset sdl serial shadow_memory smbios_firmware soundhw spice spice_clipboard_sharing
  spice_image_compression spice_streaming_video spiceagent_mouse spicedisable_ticketing spicehost spicepasswd
  spiceport spicetls_port spiceusbredirection spicevdagent stdvga stubdomain_cmdline stubdomain_kernel
  stubdomain_memory stubdomain_ramdisk tee timer_mode tsc_mode usb usbdevice usbversion vendor_device vga videoram
  viridian vkb_device vmtrace_buf_kb vnc vncdisplay vnclisten vncpasswd vncunused vncviewer vpmu vpt_align
  xen_platform_pci xend_suspend_evtchn_compat autoballoon claim_mode features guest_os_type
  `.trim().split(/\s+/));
