// The `xl` command.
import { xl } from './main.ts';

process.stdout.on('error', error => { if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0); throw error; });
const code = await xl(process.argv.slice(2), { out: text => process.stdout.write(text), err: text => process.stderr.write(text) });
process.exitCode = code;
