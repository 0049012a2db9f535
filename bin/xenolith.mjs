#!/usr/bin/env node
import { entry, runNode } from './node26.mjs';

runNode([entry('tools/host/index'), ...process.argv.slice(2)]);
