import { describe, expect, test } from 'vitest';
import { parseCfg } from './cfg-parser.ts';
import { ConfigError } from './config-error.ts';
import { parseDomainConfig } from './domain-config.ts';
import { RECORDED_CASES } from './recorded-cases.ts';
import { domainConfig } from './schema.ts';

const parse = (text: string, source = 't.cfg') => parseDomainConfig(text, source, { pcpus: 2 });
const failure = (text: string, source = 't.cfg'): ConfigError => {
  try { parse(text, source); } catch (error) { if (error instanceof ConfigError) return error; throw error; }
  throw new Error(`accepted:\n${text}`);
};
const minimal = (...lines: string[]) => ['name="g"', 'kernel="/k"', ...lines].join('\n');

describe('recorded broken configurations', () => {
  test('none is missing', () => expect(new Set(RECORDED_CASES.map(c => c.name)).size).toBe(51));
  for (const recorded of RECORDED_CASES) {
    const expected = recorded.here ?? recorded;
    // Exit code 3 is the toolstack's: the file itself parses.
    if (expected.exitCode === 0 || expected.exitCode === 3) test(`${recorded.name} parses`, () => {
      const { config, warnings } = parse(recorded.text, `${recorded.name}.cfg`);
      expect(domainConfig.safeParse(config).error).toBeUndefined();
      expect(warnings.join('\n')).toBe(expected.exitCode === 0 ? expected.stderr : '');
    });
    else test(`${recorded.name} is refused with ${expected.exitCode}`, () => {
      const error = failure(recorded.text, `${recorded.name}.cfg`);
      expect(error.exitCode).toBe(expected.exitCode);
      if (recorded.name.startsWith('type-') || recorded.name === 'disk-notlist') expect(error.message).toContain(expected.stderr);
      else expect(error.message).toBe(expected.stderr);
    });
  }
});

describe('the language', () => {
  const value = (text: string, name = 'a') => parseCfg(text, 't').settings.get(name)?.value;
  test('strings, numbers, lists, comments, separators', () => {
    expect(value(`# c\na = 'it''`.slice(0, -1))).toBe('it');
    expect(value('a = "x\\ty\\x41\\101\\"" # tail')).toBe('x\tyAA"');
    expect(value('a=0x10;b=3')).toBe('0x10');
    expect(value('a=0x10;b=3', 'b')).toBe('3');
    expect(value('a = [\n "x", # one\n\n ["y", 2],\n]\n')).toEqual(['x', ['y', '2']]);
    expect(value('a=[]')).toEqual([]);
    expect(value('a="x"\na+="y"')).toBe('xy');
    expect(value('a=["x"]\na+=["y"]')).toEqual(['x', 'y']);
    expect(value('a=1\r\nb=2', 'b')).toBe('2');
  });
  test('errors name the line', () => {
    for (const [text, at] of [['a=1\nb', 't.cfg:2:'], ['a=1\n\na=[1\n2]', 't.cfg:4:'], ['a=1 b=2', 't.cfg:1:'], ['=1', 't.cfg:1:'], ['a=[', 't.cfg:1:']] as const)
      expect(failure(text).message).toContain(at);
  });
  test('nesting is bounded', () => expect(() => parseCfg(`a=${'['.repeat(5000)}`, 't')).toThrow(ConfigError));
  test('any text parses or is refused in order', () => {
    const alphabet = ['a', '=', '[', ']', ',', '"', "'", '\\', '\n', ';', '#', '1', '+=', ' ', '-'];
    let seed = 7;
    for (let i = 0; i < 3000; i++) {
      let text = '';
      for (let n = 0; n < 24; n++) { seed = (seed * 1103515245 + 12345) & 0x7fffffff; text += alphabet[(seed >> 8) % alphabet.length]; }
      try { parseCfg(text, 't'); } catch (error) { expect(error).toBeInstanceOf(ConfigError); }
    }
  });
});

describe('a domain', () => {
  test('defaults', () => {
    const { config } = parse(minimal());
    expect(config).toMatchObject({ vcpus: 1, memoryKib: 32768, maxMemKib: 32768, onPoweroff: 'destroy', onReboot: 'restart', onCrash: 'destroy', weight: 256, cap: 0, cmdline: '' });
    expect(config.uuid).toMatch(/^[0-9a-f-]{36}$/);
  });
  test('command line', () => {
    expect(parse(minimal('root="/dev/xvda ro"', 'extra="quiet"')).config.cmdline).toBe('root=/dev/xvda ro quiet');
    expect(parse(minimal('root="x"', 'cmdline="c"')).config.cmdline).toBe('c');
  });
  test('later settings win, as overrides do', () => expect(parse(minimal('memory=64', 'memory=128')).config.memoryKib).toBe(131072));
  test('cpus ranges', () => {
    expect(parse(minimal('cpus="0-7,^1"')).config.cpus).toEqual([0]);
    expect(parse(minimal('cpus=["1"]')).config.cpus).toEqual([1]);
    expect(failure(minimal('cpus="x"')).message).toContain('t.cfg:3');
  });
  test('wrong kinds are refused with the line', () => {
    expect(failure(minimal('memory=["1"]')).message).toContain("t.cfg:3: error: parameter `memory' is a list");
    expect(failure(minimal('vcpus=33')).message).toContain('at most 32');
    expect(failure(minimal('uuid="x"')).message).toContain('UUID');
  });
});
