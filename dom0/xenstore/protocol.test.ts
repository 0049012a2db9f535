import { describe, expect, it } from 'vitest';
import * as xs from '../../hypervisor/public/io/xs_wire.ts';
import { Daemon } from './daemon.ts';
import { TestClient } from './test-clients.ts';

function setup(): { daemon: Daemon; dom0: TestClient; guest: TestClient; other: TestClient } {
  const daemon = new Daemon(), dom0 = new TestClient(daemon, 0), guest = new TestClient(daemon, 5), other = new TestClient(daemon, 6);
  for (const domid of [5, 6]) {
    dom0.mkdir(`/local/domain/${domid}`);
    dom0.chmod(`/local/domain/${domid}`, 'n0', `r${domid}`);
    dom0.mkdir(`/local/domain/${domid}/data`);
    dom0.chmod(`/local/domain/${domid}/data`, `n${domid}`);
  }
  return { daemon, dom0, guest, other };
}
const OK = 'OK\0';

describe('nodes', () => {
  it('writes, reads, lists and removes, with parents made on the way', () => {
    const { dom0 } = setup();
    expect(dom0.write('/a/b/c', 'value')).toBe(OK);
    expect(dom0.read('/a/b/c')).toBe('value');
    expect(dom0.read('/a/b')).toBe('');
    expect(dom0.mkdir('/a/b')).toBe(OK);
    expect(dom0.write('/a/aa', '')).toBe(OK);
    expect(dom0.list('/a')).toEqual(['aa', 'b']);
    expect(dom0.rm('/a/b')).toBe(OK);
    expect(dom0.read('/a/b/c')).toBe('<ENOENT>');
    expect(dom0.list('/a')).toEqual(['aa']);
  });
  it('keeps values as octets', () => {
    const { dom0 } = setup();
    const all = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
    dom0.write('/bytes', all);
    expect(dom0.read('/bytes')).toBe(all);
  });
  it('mkdir leaves a value alone', () => {
    const { dom0 } = setup();
    dom0.write('/a', 'v');
    expect(dom0.mkdir('/a')).toBe(OK);
    expect(dom0.read('/a')).toBe('v');
  });
  it('removing what is not there is fine where its parent is there', () => {
    const { dom0 } = setup();
    expect(dom0.rm('/nothing')).toBe(OK);
    expect(dom0.rm('/nothing/below')).toBe('<ENOENT>');
    expect(dom0.rm('/')).toBe('<EINVAL>');
  });
  it.each(['', 'a//b', '/a//b', '/a/', '/a b', '/a+b', '//', '@x y'])('refuses the path %j', path => {
    expect(setup().dom0.read(path)).toBe('<EINVAL>');
  });
  it('refuses long paths', () => {
    const { dom0 } = setup();
    expect(dom0.write('/' + 'x'.repeat(2047), '')).toBe(OK);
    expect(dom0.read('/' + 'x'.repeat(2048))).toBe('<EINVAL>');
  });
  it('limits what lies below a domain\'s directory, not the directory', () => {
    const { dom0 } = setup();
    expect(dom0.write('/local/domain/5/' + 'x'.repeat(2048), '')).toBe(OK);
    expect(dom0.write('/local/domain/5/' + 'x'.repeat(2049), '')).toBe('<EINVAL>');
  });
  it('takes relative paths below the client\'s own directory', () => {
    const { dom0, guest } = setup();
    guest.write('data/x', '1');
    expect(dom0.read('/local/domain/5/data/x')).toBe('1');
    dom0.write('name', 'Domain-0');
    expect(dom0.read('/local/domain/0/name')).toBe('Domain-0');
  });
  it('refuses malformed payloads', () => {
    const { dom0 } = setup();
    expect(dom0.ask(xs.XS_READ, '/a')).toBe('<EINVAL>');
    expect(dom0.ask(xs.XS_READ, '/a\0/b\0')).toBe('<EINVAL>');
    expect(dom0.ask(xs.XS_READ, '')).toBe('<EINVAL>');
    expect(dom0.ask(xs.XS_WRITE, '/a')).toBe('<EINVAL>');
    expect(dom0.ask(xs.XS_SET_PERMS, '/tool\0')).toBe('<EINVAL>');
    expect(dom0.ask(xs.XS_TRANSACTION_END, 'X\0', dom0.begin())).toBe('<EINVAL>');
    for (const type of [xs.XS_ERROR, xs.XS_WATCH_EVENT, 20, 23, 0xffff]) expect(dom0.ask(type, '/a\0')).toBe('<ENOSYS>');
  });
  it('gives long directories in parts', () => {
    const { dom0 } = setup();
    const names = Array.from({ length: 900 }, (_, i) => `name-${String(i).padStart(4, '0')}`);
    for (const name of names) dom0.write(`/big/${name}`, '');
    expect(dom0.list('/big')).toBe('<E2BIG>');
    let list = '', generation: string | undefined;
    for (;;) {
      const reply = dom0.ask(xs.XS_DIRECTORY_PART, `/big\0${list.length}\0`), cut = reply.indexOf('\0');
      generation ??= reply.slice(0, cut);
      expect(reply.slice(0, cut)).toBe(generation);
      expect(reply.length).toBeLessThanOrEqual(4096);
      const part = reply.slice(cut + 1);
      if (part.endsWith('\0\0') || part === '\0') { list += part.slice(0, -1); break; }
      list += part;
    }
    expect(list.split('\0').slice(0, -1)).toEqual(names);
    dom0.write('/big/another', '');
    expect(dom0.ask(xs.XS_DIRECTORY_PART, '/big\0' + '0\0').split('\0')[0]).not.toBe(generation);
  });
});

describe('permissions', () => {
  it('new nodes inherit; a guest owns what it makes', () => {
    const { dom0, guest } = setup();
    dom0.write('/local/domain/5/x', '');
    expect(dom0.perms('/local/domain/5/x')).toEqual(['n0', 'r5']);
    guest.write('data/y/z', '');
    expect(dom0.perms('/local/domain/5/data/y')).toEqual(['n5']);
  });
  it('what a guest may not see is EACCES, existing or not', () => {
    const { guest } = setup();
    expect(guest.read('/local/domain/6/data')).toBe('<EACCES>');
    expect(guest.read('/local/domain/6/data/nothing')).toBe('<EACCES>');
    expect(guest.write('/local/domain/5/x', '')).toBe('<EACCES>');
    expect(guest.read('/local/domain/5/x')).toBe('<ENOENT>');
    expect(guest.rm('/local/domain/5/x')).toBe('<EACCES>');
    expect(guest.mkdir('/x')).toBe('<EACCES>');
    expect(guest.list('/')).toBe('<EACCES>');
  });
  it('letters grant what they say, and the first entry speaks for all others', () => {
    const { dom0, guest, other } = setup();
    dom0.write('/n', 'v');
    const outcome = (...perms: string[]): string => {
      dom0.chmod('/n', ...perms);
      dom0.write('/n', 'v');
      return `${guest.read('/n')} ${guest.write('/n', 'w')} ${other.read('/n')}`;
    };
    expect(outcome('n0', 'r5')).toBe(`v <EACCES> <EACCES>`);
    expect(outcome('n0', 'w5')).toBe(`<EACCES> ${OK} <EACCES>`);
    expect(outcome('r0', 'b5')).toBe(`v ${OK} w`);
    expect(outcome('b0', 'n5')).toBe(`<EACCES> <EACCES> v`);
    expect(outcome('n5')).toBe(`v ${OK} <EACCES>`);
  });
  it('only the owner sets permissions, and only Dom0 gives a node away', () => {
    const { dom0, guest, other } = setup();
    guest.write('data/x', '');
    expect(guest.chmod('data/x', 'n5', 'b6')).toBe(OK);
    expect(other.write('/local/domain/5/data/x', 'hi')).toBe(OK);
    expect(other.chmod('/local/domain/5/data/x', 'n5', 'n6')).toBe('<EACCES>');
    expect(guest.chmod('data/x', 'n6')).toBe('<EPERM>');
    expect(dom0.chmod('/local/domain/5/data/x', 'n6')).toBe(OK);
    expect(guest.chmod('data/x', 'x5')).toBe('<EINVAL>');
    expect(guest.chmod('data/x', 'n70000')).toBe('<EINVAL>');
  });
  it('keeps Dom0\'s requests from guests', () => {
    const { guest } = setup();
    for (const type of [xs.XS_CONTROL, xs.XS_INTRODUCE, xs.XS_RELEASE, xs.XS_RESUME, xs.XS_SET_TARGET]) expect(guest.ask(type, '5\0')).toBe('<EACCES>');
    expect(guest.ask(xs.XS_GET_DOMAIN_PATH, '007\0')).toBe('/local/domain/7\0');
  });
  it('a domain that is gone leaves neither nodes nor rights', () => {
    const { daemon, dom0, guest } = setup();
    guest.write('data/x', '');
    dom0.write('/shared', '');
    dom0.chmod('/shared', 'n0', 'b5', 'r6');
    dom0.watch('/local/domain/5/data', 't');
    dom0.events();
    daemon.forgetDomain(5);
    expect(dom0.perms('/shared')).toEqual(['n0', 'r6']);
    expect(dom0.read('/local/domain/5/data')).toBe('<ENOENT>');
    expect(dom0.perms('/local/domain/5')).toEqual(['n0']);
    expect(dom0.events()).toEqual(['/local/domain/5/data|t']);
    expect(daemon.tree.owned(5)).toBe(0);
    daemon.check();
  });
});

describe('watches', () => {
  it('fires once at once, then for changes at and below', () => {
    const { dom0 } = setup();
    expect(dom0.watch('/a', 'tok')).toBe(OK);
    expect(dom0.events()).toEqual(['/a|tok']);
    dom0.write('/a', '1');
    dom0.write('/a/b/c', '2');
    dom0.mkdir('/a/b');
    dom0.mkdir('/a/d');
    dom0.chmod('/a', 'r0');
    dom0.write('/ab', 'no');
    expect(dom0.events()).toEqual(['/a|tok', '/a/b/c|tok', '/a/d|tok', '/a|tok']);
    dom0.rm('/a');
    expect(dom0.events()).toEqual(['/a|tok']);
  });
  it('says one event once while it is not delivered', () => {
    const { dom0, guest } = setup();
    guest.watch('data', 't');
    guest.events();
    for (let i = 0; i < 50; i++) dom0.write('/local/domain/5/data/x', String(i));
    expect(guest.connection.outstanding).toBe(1);
    expect(guest.events()).toEqual(['data/x|t']);
    dom0.write('/local/domain/5/data/x', '');
    expect(guest.events()).toEqual(['data/x|t']);
  });
  it('tells a watch below what is removed of its own path', () => {
    const { dom0 } = setup();
    dom0.write('/a/b/c/d', '');
    dom0.watch('/a/b/c', 'c');
    dom0.watch('/a/b/c/d', 'd');
    dom0.watch('/a/b/c/none', 'none');
    dom0.watch('/a', 'a');
    dom0.events();
    dom0.rm('/a/b');
    expect(dom0.events()).toEqual(['/a/b|a', '/a/b/c|c', '/a/b/c/d|d']);
  });
  it('answers relative where it was asked relative', () => {
    const { dom0, guest } = setup();
    guest.watch('data', 'rel');
    guest.watch('/local/domain/5/data', 'abs');
    expect(guest.events()).toEqual(['data|rel', '/local/domain/5/data|abs']);
    dom0.write('/local/domain/5/data/k', '');
    expect(guest.events()).toEqual(['data/k|rel', '/local/domain/5/data/k|abs']);
    expect(guest.unwatch('data', 'rel')).toBe(OK);
    expect(guest.unwatch('data', 'rel')).toBe('<ENOENT>');
    guest.write('data/k', '');
    expect(guest.events()).toEqual(['/local/domain/5/data/k|abs']);
  });
  it('does not tell what may not be read, but tells who loses the right', () => {
    const { dom0, guest } = setup();
    guest.watch('/', 'all');
    guest.events();
    dom0.write('/secret', '');
    dom0.write('/local/domain/6/data/x', '');
    expect(guest.events()).toEqual([]);
    dom0.write('/local/domain/5/y', '');
    dom0.chmod('/local/domain/5/y', 'n0');
    expect(guest.events()).toEqual(['/local/domain/5/y|all']);
    dom0.write('/open', '');
    dom0.chmod('/open', 'r0');
    guest.events();
    dom0.chmod('/open', 'n0');
    expect(guest.events()).toEqual(['/open|all']);
    dom0.write('/open', 'now closed');
    expect(guest.events()).toEqual([]);
  });
  it('limits its depth', () => {
    const { dom0 } = setup();
    dom0.watch('/a', 'd0', '0');
    dom0.watch('/a', 'd1', '1');
    dom0.events();
    dom0.write('/a', '');
    dom0.write('/a/b', '');
    dom0.write('/a/b/c', '');
    expect(dom0.events()).toEqual(['/a|d0', '/a|d1', '/a/b|d1']);
    expect(dom0.watch('/a', 'bad', '-1')).toBe('<EINVAL>');
  });
  it('refuses a second of the same, and forgets all on RESET_WATCHES', () => {
    const { dom0, guest } = setup();
    guest.watch('data', 't');
    expect(guest.watch('data', 't')).toBe('<EEXIST>');
    expect(guest.watch('/local/domain/5/data', 't')).toBe('<EEXIST>');
    const tx = guest.begin();
    guest.events();
    expect(guest.ask(xs.XS_RESET_WATCHES, '\0')).toBe(OK);
    dom0.write('/local/domain/5/data/x', '');
    expect(guest.events()).toEqual([]);
    expect(guest.read('data', tx)).toBe('<ENOENT>');
  });
  it('special watches are for Dom0 and whom it lets', () => {
    const { daemon, dom0, guest, other } = setup();
    dom0.watch('@releaseDomain', 'all');
    dom0.watch('@releaseDomain', 'which', '1');
    dom0.watch('@releaseDomain/7', 'seven');
    guest.watch('@releaseDomain', 'g');
    other.watch('@releaseDomain', 'o');
    expect(dom0.chmod('@releaseDomain', 'n0', 'r6')).toBe(OK);
    for (const c of [dom0, guest, other]) c.events();
    daemon.announceReleased(7);
    expect(dom0.events()).toEqual(['@releaseDomain|all', '@releaseDomain/7|which', '@releaseDomain/7|seven']);
    expect(guest.events()).toEqual([]);
    expect(other.events()).toEqual(['@releaseDomain|o']);
    daemon.announceIntroduced(7);
    expect(dom0.events()).toEqual([]);
    expect(dom0.perms('@releaseDomain')).toEqual(['n0', 'r6']);
    expect(dom0.write('@releaseDomain', '')).toBe('<EINVAL>');
  });
});

describe('transactions', () => {
  it('shows its changes to itself alone until the end', () => {
    const { dom0, guest } = setup();
    dom0.watch('/local/domain/5/data', 'w');
    dom0.events();
    const tx = guest.begin();
    expect(guest.write('data/x', '1', tx)).toBe(OK);
    expect(guest.read('data/x', tx)).toBe('1');
    expect(guest.list('data', tx)).toEqual(['x']);
    expect(guest.read('data/x')).toBe('<ENOENT>');
    expect(dom0.events()).toEqual([]);
    expect(guest.end(tx)).toBe(OK);
    expect(dom0.read('/local/domain/5/data/x')).toBe('1');
    expect(dom0.events()).toEqual(['/local/domain/5/data/x|w']);
    expect(guest.end(tx)).toBe('<ENOENT>');
  });
  it('is forgotten on F', () => {
    const { guest } = setup();
    const tx = guest.begin();
    guest.write('data/x', '1', tx);
    expect(guest.end(tx, false)).toBe(OK);
    expect(guest.read('data/x')).toBe('<ENOENT>');
  });
  it('reads the store as it was at the start', () => {
    const { dom0 } = setup();
    dom0.write('/a', 'old');
    const tx = dom0.begin();
    dom0.write('/a', 'new');
    expect(dom0.read('/a', tx)).toBe('old');
    expect(dom0.end(tx)).toBe('<EAGAIN>');
  });

  type Act = (c: TestClient, tx: number) => unknown;
  const cases: [string, Act, Act, string][] = [
    ['reads what another writes', (c, t) => c.read('/a/b', t), c => c.write('/a/b', 'x'), '<EAGAIN>'],
    ['writes what another writes', (c, t) => c.write('/a/b', '1', t), c => c.write('/a/b', 'x'), '<EAGAIN>'],
    ['writes what another removes', (c, t) => c.write('/a/b', '1', t), c => c.rm('/a/b'), '<EAGAIN>'],
    ['makes what another makes', (c, t) => c.mkdir('/a/new', t), c => c.mkdir('/a/new'), '<EAGAIN>'],
    ['reads in vain what another makes', (c, t) => c.read('/a/new', t), c => c.mkdir('/a/new'), '<EAGAIN>'],
    ['lists where another makes', (c, t) => c.list('/a', t), c => c.mkdir('/a/new'), '<EAGAIN>'],
    ['removes a tree that another changes', (c, t) => c.rm('/a', t), c => c.write('/a/b/deep', 'x'), '<EAGAIN>'],
    ['reads permissions that another sets', (c, t) => c.ask(xs.XS_GET_PERMS, '/a/b\0', t), c => c.chmod('/a/b', 'r0'), '<EAGAIN>'],
    ['writes below what another removes', (c, t) => c.write('/a/b/x', '', t), c => c.rm('/a'), '<EAGAIN>'],
    ['reads beside what another writes', (c, t) => c.read('/a/b', t), c => c.write('/a/c', 'x'), OK],
    ['makes a sibling of what another makes', (c, t) => c.mkdir('/a/one', t), c => c.mkdir('/a/two'), OK],
    ['reads a directory\'s value while a child is made', (c, t) => c.read('/a', t), c => c.mkdir('/a/new'), OK],
    ['removes beside what another writes', (c, t) => c.rm('/a/b', t), c => c.write('/a/c', 'x'), OK],
  ];
  it.each(cases)('%s', (_name, mine, theirs, outcome) => {
    const { dom0, daemon } = setup();
    dom0.write('/a/b', '');
    dom0.write('/a/c', '');
    const tx = dom0.begin();
    mine(dom0, tx);
    theirs(new TestClient(daemon, 0), 0);
    expect(dom0.end(tx)).toBe(outcome);
    daemon.check();
  });

  it('keeps another\'s changes when it commits its own', () => {
    const { dom0 } = setup();
    const tx = dom0.begin();
    dom0.write('/a/mine', '1', tx);
    dom0.write('/a/theirs', '2');
    // /a itself was not there when the transaction began, and was then made by someone else.
    expect(dom0.end(tx)).toBe(OK);
    expect(dom0.list('/a')).toEqual(['mine', 'theirs']);
  });
  it('changes nothing when it fails', () => {
    const { dom0, daemon } = setup();
    dom0.write('/a', '');
    const tx = dom0.begin();
    dom0.write('/x', '1', tx);
    dom0.read('/a', tx);
    dom0.write('/a', 'changed');
    dom0.watch('/', 'w');
    dom0.events();
    expect(dom0.end(tx)).toBe('<EAGAIN>');
    expect(dom0.read('/x')).toBe('<ENOENT>');
    expect(dom0.events()).toEqual([]);
    daemon.check();
  });
  it('is known to its own client alone, and is not nested', () => {
    const { dom0, guest } = setup();
    const tx = dom0.begin();
    expect(guest.read('data', tx)).toBe('<ENOENT>');
    expect(dom0.ask(xs.XS_TRANSACTION_START, '\0', tx)).toBe('<EBUSY>');
    expect(dom0.ask(xs.XS_TRANSACTION_END, 'T\0')).toBe('<ENOENT>');
  });
});

describe('the trace', () => {
  it('is one line per request, on demand', () => {
    const lines: string[] = [], daemon = new Daemon(line => lines.push(line)), dom0 = new TestClient(daemon, 0), guest = new TestClient(daemon, 5);
    dom0.ask(xs.XS_CONTROL, 'log\0on\0');
    lines.length = 0;
    dom0.write('/a', 'v\n');
    guest.read('a', 7);
    dom0.ask(xs.XS_CONTROL, 'log\0off\0');
    dom0.read('/a');
    expect(lines).toEqual(['xenstore: d0 WRITE /a|v? -> OK|', 'xenstore: d5 tx 7 READ a| -> ENOENT']);
    expect(dom0.ask(xs.XS_CONTROL, 'log\0maybe\0')).toBe('<EINVAL>');
  });
});

describe('quotas', () => {
  it('nodes, also at a transaction\'s end', () => {
    const { daemon, dom0, guest } = setup();
    daemon.quota.nodes = 5;
    for (let i = 0; i < 4; i++) expect(guest.write(`data/${i}`, '')).toBe(OK);
    expect(guest.write('data/one-more', '')).toBe('<ENOSPC>');
    expect(guest.write('data/0', 'exists')).toBe(OK);
    expect(guest.mkdir('data/0/a/b')).toBe('<ENOSPC>');
    expect(dom0.write('/local/domain/5/by-dom0', '')).toBe(OK);
    guest.rm('data/0');
    const one = guest.begin(), two = guest.begin();
    guest.write('data/a', '', one);
    guest.write('data/b', '', two);
    expect(guest.end(one)).toBe(OK);
    expect(guest.end(two)).toBe('<ENOSPC>');
    expect(daemon.tree.owned(5)).toBe(5);
    daemon.check();
  });
  it('watches, transactions, permissions and size', () => {
    const { daemon, dom0, guest } = setup();
    for (let i = 0; i < daemon.quota.watches; i++) guest.watch('data', String(i));
    expect(guest.watch('data', 'one more')).toBe('<E2BIG>');
    expect(dom0.watch('/', 'never')).toBe(OK);
    for (let i = 0; i < daemon.quota.transactions; i++) guest.begin();
    expect(guest.ask(xs.XS_TRANSACTION_START, '\0')).toBe('<ENOSPC>');
    guest.write('data/x', '');
    expect(guest.chmod('data/x', 'n5', 'r1', 'r2', 'r3', 'r4', 'r6')).toBe('<ENOSPC>');
    expect(guest.write('data/x', 'v'.repeat(2016))).toBe('<ENOSPC>');
    expect(guest.read('data/x')).toBe('');
    expect(guest.write('data/x', 'v'.repeat(2015))).toBe(OK);
    expect(dom0.write('/local/domain/5/data/x', 'v'.repeat(4000))).toBe(OK);
  });
  it('what a transaction may hold', () => {
    const { daemon, dom0, guest } = setup();
    daemon.quota.transactionNodes = 10;
    for (const [client, outcome] of [[guest, '<ENOSPC>'], [dom0, OK]] as const) {
      const tx = client.begin();
      let last = '';
      for (let i = 0; i < 30; i++) last = client.write('/local/domain/5/data/x', String(i), tx);
      expect(last).toBe(outcome);
      expect(client.end(tx)).toBe(OK);
    }
    expect(dom0.read('/local/domain/5/data/x')).toBe('29');
  });
  it('is asked for and set by CONTROL', () => {
    const { daemon, dom0 } = setup();
    expect(dom0.ask(xs.XS_CONTROL, 'quota\0set\0nodes\0' + '77\0')).toBe(OK);
    expect(daemon.quota.nodes).toBe(77);
    expect(dom0.ask(xs.XS_CONTROL, 'quota\0')).toContain('nodes            :       77\n');
    expect(dom0.ask(xs.XS_CONTROL, 'quota\0set\0nonsense\0' + '1\0')).toBe('<EINVAL>');
    expect(dom0.ask(xs.XS_CONTROL, 'toString\0')).toBe('<EINVAL>');
    expect(dom0.ask(xs.XS_CONTROL, 'check\0')).toBe(OK);
    expect(dom0.ask(xs.XS_CONTROL, 'quota\0' + '5\0')).toBe('<ENOENT>');
  });
});
