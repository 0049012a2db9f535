// public/io/xenbus.h: the state of either end of a split device.
// Transcribed from Xen's public headers, which are MIT-licensed (SPDX-License-Identifier: MIT).

export const XenbusStateUnknown = 0;
export const XenbusStateInitialising = 1;
/** Early initialisation is done; waits for the peer's details or hotplug scripts. */
export const XenbusStateInitWait = 2;
/** Waits for a connection from the peer. */
export const XenbusStateInitialised = 3;
export const XenbusStateConnected = 4;
/** Being closed because of an error or an unplug event. */
export const XenbusStateClosing = 5;
export const XenbusStateClosed = 6;
export const XenbusStateReconfiguring = 7;
export const XenbusStateReconfigured = 8;

export type XenbusState = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;
