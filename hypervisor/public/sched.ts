// Constants and layouts transcribed from Xen's public headers (sched.h), which carry the MIT licence:
// Copyright (c) 2002-2023, K A Fraser, Keir Fraser and the Xen contributors. Permission is hereby granted, free of
// charge, to any person obtaining a copy of this software and associated documentation files, to deal in the Software
// without restriction. The Software is provided "as is", without warranty of any kind.

export const SCHEDOP_yield = 0;
export const SCHEDOP_block = 1;
export const SCHEDOP_shutdown = 2;
export const SCHEDOP_poll = 3;
export const SCHEDOP_remote_shutdown = 4;
export const SCHEDOP_shutdown_code = 5;
export const SCHEDOP_watchdog = 6;
export const SCHEDOP_pin_override = 7;
export const SHUTDOWN_poweroff = 0;
export const SHUTDOWN_reboot = 1;
export const SHUTDOWN_suspend = 2;
export const SHUTDOWN_crash = 3;
export const SHUTDOWN_watchdog = 4;
export const SHUTDOWN_soft_reset = 5;
export const SHUTDOWN_MAX = 5;
/** What SCHEDOP_shutdown(SHUTDOWN_suspend) returns in a domain that goes on where it was; 0: in a new one made of what was saved. */
export const SUSPEND_CANCELLED = 1;
