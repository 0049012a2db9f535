// The broken configurations recorded on a real Xen 4.17.7, and what xl said. Lines of a case are added to, or with
// the same key replace, the base file.

export interface RecordedCase {
  readonly name: string;
  /** The whole file. */
  readonly text: string;
  /** Exit code of the real xl. */
  readonly exitCode: number;
  /** Its stderr after "Parsing config from FILE"; for exit code 3 the part that names the cause. */
  readonly stderr: string;
  /** Set where this host is stricter or more helpful, with its own exit code and message. */
  readonly here?: { readonly exitCode: number; readonly stderr: string };
}

const IMG = '/oracle/domu.img';
const base = (...lines: string[]): string => `${['name="g"', 'type="pv"', 'vcpus=1', 'memory=32', ...lines, 'kernel="/boot/small-pv-kernel"'].join('\n')}\n`;
const disk = (spec: string): string => `${['name="g"', 'type="pv"', 'vcpus=1', 'memory=32', 'kernel="/boot/small-pv-kernel"', `disk=['${spec}']`].join('\n')}\n`;
const vif = (spec: string): string => disk('x').replace(/disk=.*/, `vif=['${spec}']`);
const kernel = (path: string): string => base().replace('/boot/small-pv-kernel', path);
const memory = (value: string): string => base().replace('memory=32', value);
const named = (line: string): string => base().replace('name="g"\n', line);
const diskError = (name: string, what: string, spec: string): string => `${name}.cfg: config parsing error in disk specification: ${what} in \`${spec}'`;
const NO_LOADER = 'no loader found: Invalid kernel';
const STAT = (path: string): string => `Disk vdev=xvda failed to stat: ${path}: No such file or directory`;

export const RECORDED_CASES: readonly RecordedCase[] = [
  { name: 'ok', text: base(), exitCode: 0, stderr: '' },
  { name: 'syntax', text: 'name="g\nmemory=32\n', exitCode: 1, stderr: 'syntax.cfg:1: config parsing error near `"g\': lexical error\nFailed to parse config: Invalid argument' },
  { name: 'syntax2', text: 'name = = 3\n', exitCode: 1, stderr: "syntax2.cfg:1: config parsing error near `=': syntax error, unexpected '=', expecting STRING or NUMBER or '['\nFailed to parse config: Invalid argument" },
  { name: 'missing-kernel', text: 'name="g"\ntype="pv"\nvcpus=1\nmemory=32\n', exitCode: 1, stderr: 'Neither kernel nor bootloader specified' },
  { name: 'kernel-nonexist', text: kernel('/nonexistent/vmlinuz'), exitCode: 3, stderr: "failed to open file '/nonexistent/vmlinuz': No such file or directory" },
  { name: 'kernel-text', text: kernel('/tmp/bad/text.bin'), exitCode: 3, stderr: NO_LOADER },
  { name: 'kernel-trunc', text: kernel('/tmp/bad/trunc.bin'), exitCode: 3, stderr: NO_LOADER },
  { name: 'kernel-empty', text: kernel('/tmp/bad/empty.bin'), exitCode: 3, stderr: "'/tmp/bad/empty.bin': zero length file" },
  { name: 'kernel-elf-notxen', text: kernel('/bin/busybox'), exitCode: 3, stderr: NO_LOADER },
  { name: 'kernel-linux-64mb', text: memory('memory=64').replace('/boot/small-pv-kernel', '/boot/vmlinuz-6.1.0-56-amd64'), exitCode: 3, stderr: 'Out of memory' },
  { name: 'kernel-pv32pae', text: kernel('/bin/true'), exitCode: 3, stderr: NO_LOADER },
  { name: 'ramdisk-nonexist', text: `${base()}ramdisk="/nonexistent/initrd"\n`, exitCode: 3, stderr: "failed to open file '/nonexistent/initrd': No such file or directory" },
  { name: 'memory-0', text: memory('memory=0'), exitCode: 3, stderr: 'Out of memory' },
  { name: 'memory-str', text: memory('memory="abc"'), exitCode: 0, stderr: "memory-str.cfg:4: warning: parameter `memory' is not a valid number",
    here: { exitCode: 1, stderr: "memory-str.cfg:4: error: parameter `memory' is not a valid number" } },
  { name: 'memory-neg', text: memory('memory=-5'), exitCode: 1, stderr: "memory-neg.cfg:4: config parsing error near `-5': lexical error\nwarning: Config file looks like it contains Python code.\nwarning:  Arbitrary Python is no longer supported.\nwarning:  See https://wiki.xen.org/wiki/PythonInXlConfig\nFailed to parse config: Invalid argument" },
  { name: 'memory-huge', text: memory('memory=1000000'), exitCode: 3, stderr: 'Out of memory' },
  { name: 'memory-1', text: memory('memory=1'), exitCode: 3, stderr: 'Out of memory' },
  { name: 'memory-missing', text: memory('').replace('\n\n', '\n'), exitCode: 0, stderr: '' },
  { name: 'maxmem-less', text: memory('memory=64\nmaxmem=32'), exitCode: 0, stderr: '',
    here: { exitCode: 1, stderr: 'maxmem-less.cfg:5: error: maxmem is 32 MiB but memory is 64 MiB: maxmem may not be less' } },
  { name: 'name-missing', text: named(''), exitCode: 1, stderr: 'Domain name must be specified.' },
  { name: 'name-empty', text: named('name=""\n'), exitCode: 0, stderr: '', here: { exitCode: 1, stderr: 'Domain name must be specified.' } },
  { name: 'name-slash', text: named('name="a/b"\n'), exitCode: 3, stderr: '',
    here: { exitCode: 3, stderr: 'Domain name "a/b" contains a slash' } },
  { name: 'name-numeric', text: named('name="123"\n'), exitCode: 0, stderr: '' },
  { name: 'name-dup', text: named('name="domu"\n'), exitCode: 3, stderr: 'Domain with name "domu" already exists.' },
  { name: 'vcpus-0', text: base().replace('vcpus=1', 'vcpus=0'), exitCode: 0, stderr: '',
    here: { exitCode: 1, stderr: 'vcpus-0.cfg:3: error: vcpus is 0: a domain needs at least one vCPU' } },
  { name: 'vcpus-str', text: base().replace('vcpus=1', 'vcpus="x"'), exitCode: 0, stderr: "vcpus-str.cfg:3: warning: parameter `vcpus' is not a valid number",
    here: { exitCode: 1, stderr: "vcpus-str.cfg:3: error: parameter `vcpus' is not a valid number" } },
  { name: 'type-bad', text: 'name="g"\ntype="frob"\nmemory=32\nkernel="/boot/small-pv-kernel"\n', exitCode: 1, stderr: 'Invalid domain type frob.' },
  { name: 'type-hvm', text: 'name="g"\ntype="hvm"\nmemory=32\n', exitCode: 6, stderr: 'neither hap nor shadow paging available' },
  { name: 'type-pvh', text: 'name="g"\ntype="pvh"\nmemory=32\nkernel="/boot/small-pv-kernel"\n', exitCode: 6, stderr: 'neither hap nor shadow paging available' },
  { name: 'oncrash-bad', text: base('on_crash="explode"'), exitCode: 1, stderr: 'Unknown on_crash action "explode" specified' },
  { name: 'cpus-bad', text: base('cpus="99"'), exitCode: 1, stderr: 'vcpu hard affinity map is empty' },
  { name: 'unknown-key', text: base('frobnicate="1"'), exitCode: 0, stderr: '',
    here: { exitCode: 0, stderr: "unknown-key.cfg:5: warning: unknown parameter `frobnicate' is ignored" } },
  { name: 'disk-1', text: disk(`format=foo,vdev=xvda,access=rw,target=${IMG}`), exitCode: 1, stderr: diskError('disk-1', "unknown value for format: near `foo'", `format=foo,vdev=xvda,access=rw,target=${IMG}`) },
  { name: 'disk-2', text: disk('format=raw,vdev=xvda,access=rw,target=/nonexistent.img'), exitCode: 3, stderr: STAT('/nonexistent.img') },
  { name: 'disk-3', text: disk(`format=raw,vdev=xvda,access=zz,target=${IMG}`), exitCode: 1, stderr: diskError('disk-3', "unknown value for access: near `zz'", `format=raw,vdev=xvda,access=zz,target=${IMG}`) },
  { name: 'disk-4', text: disk(`format=raw,access=rw,target=${IMG}`), exitCode: 1, stderr: diskError('disk-4', 'no vdev specified', `format=raw,access=rw,target=${IMG}`) },
  { name: 'disk-5', text: disk(`format=raw,vdev=zzz9,access=rw,target=${IMG}`), exitCode: 3, stderr: 'Invalid or unsupported virtual disk identifier zzz9' },
  { name: 'disk-6', text: disk('garbage'), exitCode: 1, stderr: diskError('disk-6', 'no vdev specified', 'garbage') },
  { name: 'disk-7', text: disk(`frob=1,format=raw,vdev=xvda,target=${IMG}`), exitCode: 1, stderr: diskError('disk-7', "unknown parameter: near `frob=1,'", `frob=1,format=raw,vdev=xvda,target=${IMG}`) },
  { name: 'disk-8', text: disk('format=qcow2,vdev=xvda,access=rw,target=/tmp/bad/text.bin'), exitCode: 0, stderr: '',
    here: { exitCode: 3, stderr: 'Disk vdev=xvda has format qcow2, but only raw is supported' } },
  { name: 'disk-9', text: disk(`file:${IMG},xvda,w`), exitCode: 0, stderr: '' },
  { name: 'disk-10', text: disk('phy:/nonexistent,xvda,w'), exitCode: 3, stderr: STAT('/nonexistent') },
  { name: 'disk-11', text: disk(`tap:aio:${IMG},xvda,w`), exitCode: 0, stderr: '' },
  { name: 'disk-12', text: disk(`format=raw,vdev=xvda,backendtype=frob,target=${IMG}`), exitCode: 1, stderr: diskError('disk-12', "unknown value for backendtype: near `frob'", `format=raw,vdev=xvda,backendtype=frob,target=${IMG}`) },
  { name: 'disk-notlist', text: disk('x').replace(/disk=.*/, `disk='format=raw,vdev=xvda,target=${IMG}'`), exitCode: 0, stderr: "disk-notlist.cfg:6: warning: parameter `disk' is a single value but should be a list",
    here: { exitCode: 1, stderr: "disk-notlist.cfg:6: error: parameter `disk' is a single value but should be a list" } },
  { name: 'vif-1', text: vif('mac=zz:zz'), exitCode: 0, stderr: "Invalid parameter `mac'.", here: { exitCode: 1, stderr: "Invalid parameter `mac'." } },
  { name: 'vif-2', text: vif('bridge=nobridge0'), exitCode: 3, stderr: 'Could not find bridge device nobridge0' },
  { name: 'vif-3', text: vif('frob=1'), exitCode: 0, stderr: "unrecognized argument `frob=1'", here: { exitCode: 1, stderr: "unrecognized argument `frob=1'" } },
  { name: 'vif-4', text: vif('mac=00:16:3e:00:00:01,model=foo'), exitCode: 0, stderr: '' },
  { name: 'vif-5', text: vif('rate=abc'), exitCode: 1, stderr: 'vif-5.cfg: config parsing error in vif: invalid rate in `abc\'' },
  { name: 'vif-6', text: vif(''), exitCode: 0, stderr: '' },
];
