// The thread of a domain whose program is WebAssembly: the vCPU below, the guest kernel in between, the program on top.
import { runProgramVcpu } from '../hypervisor/boot/program-vcpu.ts';
import { Kernel } from './kernel/kernel.ts';
import { runProgram } from './wasi/program.ts';

runProgramVcpu(vcpu => runProgram(new Kernel(vcpu)));
