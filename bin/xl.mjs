#!/usr/bin/env node
import { entry, runNode } from './node26.mjs';

runNode([entry('tools/xl/index'), ...process.argv.slice(2)]);
