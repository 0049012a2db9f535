import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { defaultCacheDir } from '../image/packages.ts';

// What is compiled once need not be compiled by every xl: `xl list` takes a quarter less processor time. Where the folder
// cannot be written, nothing is kept. Only what is imported from here on is.
enableCompileCache(join(defaultCacheDir(), 'compiled'));
const { xl } = await import('./main.ts');

process.stdout.on('error', error => { if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0); throw error; });
const code = await xl(process.argv.slice(2), { out: text => process.stdout.write(text), err: text => process.stderr.write(text) });
process.exitCode = code;
