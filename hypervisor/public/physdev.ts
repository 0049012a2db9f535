// Constants and layouts transcribed from Xen's public headers (physdev.h), which carry the MIT licence:
// Copyright (c) 2002-2023, K A Fraser, Keir Fraser and the Xen contributors. Permission is hereby granted, free of
// charge, to any person obtaining a copy of this software and associated documentation files, to deal in the Software
// without restriction. The Software is provided "as is", without warranty of any kind.

export const PHYSDEVOP_eoi = 12;
export const PHYSDEVOP_pirq_eoi_gmfn_v1 = 17;
export const PHYSDEVOP_pirq_eoi_gmfn_v2 = 28;
export const PHYSDEVOP_irq_status_query = 5;
export const PHYSDEVOP_set_iopl = 6;
export const PHYSDEVOP_set_iobitmap = 7;
export const PHYSDEVOP_apic_read = 8;
export const PHYSDEVOP_apic_write = 9;
export const PHYSDEVOP_alloc_irq_vector = 10;
export const PHYSDEVOP_free_irq_vector = 11;
export const PHYSDEVOP_map_pirq = 13;
export const PHYSDEVOP_unmap_pirq = 14;
export const PHYSDEVOP_manage_pci_add = 15;
export const PHYSDEVOP_manage_pci_remove = 16;
export const PHYSDEVOP_restore_msi = 19;
export const PHYSDEVOP_manage_pci_add_ext = 20;
export const PHYSDEVOP_setup_gsi = 21;
export const PHYSDEVOP_get_free_pirq = 23;
export const PHYSDEVOP_pci_mmcfg_reserved = 24;
export const PHYSDEVOP_pci_device_add = 25;
export const PHYSDEVOP_pci_device_remove = 26;
export const PHYSDEVOP_restore_msi_ext = 27;
export const PHYSDEVOP_prepare_msix = 30;
export const PHYSDEVOP_release_msix = 31;
export const PHYSDEVOP_DBGP_RESET_PREPARE = 1;
export const PHYSDEVOP_DBGP_RESET_DONE = 2;
export const PHYSDEVOP_DBGP_BUS_UNKNOWN = 0;
export const PHYSDEVOP_DBGP_BUS_PCI = 1;
export const PHYSDEVOP_dbgp_op = 29;
export const PHYSDEVOP_IRQ_UNMASK_NOTIFY = 4;
export const PHYSDEVOP_IRQ_STATUS_QUERY = 5;
export const PHYSDEVOP_SET_IOPL = 6;
export const PHYSDEVOP_SET_IOBITMAP = 7;
export const PHYSDEVOP_APIC_READ = 8;
export const PHYSDEVOP_APIC_WRITE = 9;
export const PHYSDEVOP_ASSIGN_VECTOR = 10;
export const PHYSDEVOP_FREE_VECTOR = 11;
export const PHYSDEVOP_IRQ_NEEDS_UNMASK_NOTIFY = 1;
export const PHYSDEVOP_IRQ_SHARED = 2;
