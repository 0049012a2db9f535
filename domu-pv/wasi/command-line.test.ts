import { describe, expect, test } from 'vitest';
import { parseCommandLine } from './command-line.ts';

describe('a command line', () => {
  test('is the kernel\'s words, the environment, and arguments behind --', () => {
    const line = parseCommandLine(`root=/dev/xvda mount=/data:xvdb A=1 'B=two words' missing-imports=trap -- 'with space' "quo\\"ted" '' mount=/no:xvdc`);
    expect(line).toMatchObject({ root: 'xvda', mounts: [{ name: 'data', device: 'xvdb' }], environment: ['A=1', 'B=two words'], trapMissing: true, arguments: ['with space', 'quo"ted', '', 'mount=/no:xvdc'] });
  });
  test('without -- has its other words as arguments', () => { expect(parseCommandLine('root=xvda script.py A=1')).toMatchObject({ root: 'xvda', environment: [], arguments: ['script.py', 'A=1'] }); });
  test.each([
    ['mount=/a/b:xvda', /mount=\/a\/b:xvda: give \/NAME:DISK/], ['mount=data:xvda', /give \/NAME:DISK/], ['mount=/data', /give \/NAME:DISK/], ['mount=/..:xvda', /give \/NAME:DISK/],
    ['missing-imports=ignore', /give missing-imports=trap/], ['tcplisten=http', /no such port/], ['tcplisten=70000', /no such port/], ['ip=10.0.0', /give ADDRESS/], ['ip=10.0.0.1/33', /give ADDRESS/],
  ])('that is wrong is said so: %s', (text, sentence) => { expect(() => parseCommandLine(text)).toThrow(sentence); });
});
