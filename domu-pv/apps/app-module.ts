// A module without code that names a program of the guest kernel's own, in a custom section.
const SECTION = 'xenolith:app', HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

/** A module that names an app. */
export function appModule(name: string): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(name), section = new TextEncoder().encode(SECTION);
  return Uint8Array.from([...HEADER, 0, 1 + section.length + text.length, section.length, ...section, ...text]);
}
/** What a module of this form names; anything for another. */
export const appName = (module: Uint8Array): string => new TextDecoder().decode(module.slice(HEADER.length + 3 + SECTION.length, HEADER.length + 2 + (module[HEADER.length + 1] ?? 0)));
