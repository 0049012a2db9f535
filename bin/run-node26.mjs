// Runs its arguments under Node 26: `node bin/run-node26.mjs SCRIPT [ARGUMENTS]`.
import { runNode } from './node26.mjs';

runNode(process.argv.slice(2));
