// Real programs in a real Debian guest: here, in QEMU's software CPU, and on the bare processor, in alternation.
//   npm run bench -- [--rounds N] [--only REGEXP] [--no-boot] [--no-qemu] [--no-native] [--out STEM] [--qemu-cpu MODEL]
// Boots are those of a host that has booted the kernel before, from the second round on: it takes over translations. QEMU has none to keep.
// Needs the packages mmdebstrap, e2fsprogs and fakeroot; qemu-system-x86 for the comparison.
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { benchImage, benchKernel } from './image.ts';
import { type Machine, Native, QEMU_CPU, QemuTcg, qemuVersion, Xenolith } from './machines.ts';
import { type Report, type Row, save, table } from './report.ts';
import { WORKLOADS, type Workload } from './workloads.ts';

const { values } = parseArgs({ options: {
  rounds: { type: 'string', default: '3' }, only: { type: 'string', default: '' }, out: { type: 'string', default: 'bench' }, 'qemu-cpu': { type: 'string', default: QEMU_CPU },
  'no-boot': { type: 'boolean', default: false }, 'no-qemu': { type: 'boolean', default: false }, 'no-native': { type: 'boolean', default: false },
} });
const rounds = Number(values.rounds), only = new RegExp(values.only);
const say = (text: string): void => { process.stderr.write(`${text}\n`); };

const image = benchImage(say), kernel = await benchKernel();
const files = { ...kernel, image }, qemu = qemuVersion();
const ours = new Xenolith(files), machines: Machine[] = [ours];
if (!values['no-qemu']) { if (qemu) machines.push(new QemuTcg(files, values['qemu-cpu'])); else say('qemu-system-x86_64 is not installed: no comparison with it'); }
if (!values['no-native'] && process.arch === 'x64') machines.push(new Native(image));
const names = machines.map(m => m.name), rows: Row[] = [];
const report: Report = { rows, machine: {
  processor: cpus()[0]?.model ?? 'unknown', kernel: kernel.release, node: process.version, v8: process.versions.v8, ...(qemu ? { qemu: `QEMU ${qemu} TCG, -cpu ${values['qemu-cpu']}` } : {}), date: new Date().toISOString().slice(0, 10),
} };

/** One value a round and machine, machines in turn. */
async function measure(name: string, unit: Row['unit'], on: readonly Machine[], one: (m: Machine) => Promise<number>): Promise<void> {
  const found: Record<string, number[]> = Object.fromEntries(on.map(m => [m.name, []]));
  for (let n = 0; n < rounds; n++) for (const m of on) found[m.name]!.push(await one(m));
  rows.push({ name, unit, values: found });
  say(`${name}: ${on.map(m => `${m.name} ${found[m.name]!.map(v => v.toPrecision(3)).join(' ')}`).join('; ')}`);
}
async function once(w: Workload, m: Machine): Promise<number> {
  const r = await m.run(w.command);
  if (r.status !== 0) throw new Error(`${w.name} on ${m.name} ended with status ${r.status}: ${r.output.slice(-500)}`);
  if (!w.rate) return r.seconds;
  const rate = Number(w.rate.exec(r.output)?.[1]);
  if (!(rate > 0)) throw new Error(`${w.name} on ${m.name} printed no rate: ${r.output.slice(-500)}`);
  return rate;
}

try {
  await ours.startHost();
  const guests = machines.filter(m => !m.native);
  if (!values['no-boot'] && only.test('boot to login')) await measure('boot to login', 's', guests, m => m.bootToLogin());
  if (!values['no-boot'] && only.test('boot to init')) await measure('boot to init', 's', guests, async m => { const s = await m.bootToInit(); m.end(); return s; });
  for (const m of machines) await m.bootToInit();
  for (const w of WORKLOADS) if (only.test(w.name)) await measure(w.name, w.rate ? '1/s' : 's', w.disk ? guests : machines, m => once(w, m));
} finally {
  for (const m of machines) m.stop();
}
console.log(table(report, names));
save(report, names, values.out);
say(`written: ${values.out}.json${names[1] ? ` and ${values.out}.svg` : ''}`);
