// Files of this package, which run as .ts from a checkout and as .js when built.
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** @param path relative to the package's root, without extension */
export const moduleUrl = (path: string): URL => new URL(`../../${path}.${extension}`, import.meta.url);
