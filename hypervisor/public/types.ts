// Branded numbers: no bare `number` crosses a module border where one of these is meant.
declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

/** Domain identifier, 0 .. DOMID_FIRST_RESERVED-1 (public/xen.h domid_t). */
export type Domid = Brand<number, 'Domid'>;
/** Event channel port of one domain (public/event_channel.h evtchn_port_t). */
export type EvtchnPort = Brand<number, 'EvtchnPort'>;
/** Grant reference of one domain (public/grant_table.h grant_ref_t). */
export type GrantRef = Brand<number, 'GrantRef'>;
/** Machine frame number: (slot << 20) | index. Fits a double exactly (slot < 2^15). */
export type Mfn = Brand<number, 'Mfn'>;
/** Guest pseudo-physical frame number. */
export type Pfn = Brand<number, 'Pfn'>;

export const domid = (n: number): Domid => n as Domid;
export const evtchnPort = (n: number): EvtchnPort => n as EvtchnPort;
export const grantRef = (n: number): GrantRef => n as GrantRef;
export const mfn = (n: number): Mfn => n as Mfn;
export const pfn = (n: number): Pfn => n as Pfn;

/** Frame index bits of an mfn; the rest is the slot of the domain memory it lies in. */
export const MFN_INDEX_BITS = 20;
export const mfnSlot = (m: Mfn): number => Math.floor(m / 0x100000);
export const mfnIndex = (m: Mfn): number => m % 0x100000;
export const mfnOf = (slot: number, index: number): Mfn => (slot * 0x100000 + index) as Mfn;
