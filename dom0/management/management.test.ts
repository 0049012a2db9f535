// What is kept on disk, by itself: damage, torn ends, other versions.
import { appendFileSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SHUTDOWN_crash, SHUTDOWN_poweroff, SHUTDOWN_watchdog } from '../../hypervisor/public/sched.ts';
import { AuditLog } from './audit-log.ts';
import { auditFiles, verifyAudit } from './audit-files.ts';
import { openDatabase, SCHEMA_VERSION, transaction } from './database.ts';
import { NO_RESTART } from './definitions.ts';
import { pauseSeconds, restartsAfter } from './managed-domains.ts';
import { Operations } from './operations.ts';
import { stateFolder } from './state-folder.ts';
import { allows, Tokens } from './tokens.ts';

let dir: string;
beforeEach(() => { dir = mkdtempSync(join(tmpdir(), 'kept-')); });
afterEach(() => rmSync(dir, { recursive: true }));

describe('the database', () => {
  test('is made, and opened again as it was', () => {
    const path = join(dir, 'db'), first = openDatabase(path);
    first.exec("INSERT INTO meta VALUES ('a', 'b')");
    expect([first.prepare('PRAGMA journal_mode').get(), first.prepare('PRAGMA synchronous').get(), first.prepare('PRAGMA user_version').get()]).toEqual([{ journal_mode: 'wal' }, { synchronous: 2 }, { user_version: SCHEMA_VERSION }]);
    for (const file of [path, `${path}-wal`]) expect(statSync(file).mode & 0o777).toBe(0o600);
    first.close();
    expect(existsSync(`${path}-wal`)).toBe(false);
    const second = openDatabase(path);
    expect(second.prepare('SELECT * FROM meta').all()).toEqual([{ key: 'a', value: 'b' }]);
    expect(() => transaction(second, () => { second.exec("DELETE FROM meta"); throw new Error('no'); })).toThrow('no');
    expect(second.prepare('SELECT count(*) AS n FROM meta').get()).toEqual({ n: 1 });
    second.close();
  });
  test('of a later version, or damaged, is refused with a way out', () => {
    const path = join(dir, 'db'), later = new DatabaseSync(path);
    later.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    later.close();
    expect(() => openDatabase(path)).toThrow(/later version .* XENOLITH_STATEDIR/);
    writeFileSync(join(dir, 'none'), 'this is no database, but it is long enough to be looked at'.repeat(100));
    expect(() => openDatabase(join(dir, 'none'))).toThrow('not a database');
  });
});

describe('the audit log', () => {
  const path = (): string => join(dir, 'audit');
  const noted = async (count: number): Promise<void> => {
    const log = new AuditLog(path(), () => 0);
    await Promise.all(Array.from({ length: count }, (_, i) => log.add({ who: 'me', what: `change ${i}` })));
    await log.close();
  };
  test('goes on where it was, in pages', async () => {
    await noted(700);
    const log = new AuditLog(path(), () => 0);
    expect(await log.add({ who: 'me', what: 'one more' })).toBe(701);
    expect(log.page(0, 2).map(e => e.seq)).toEqual([1, 2]);
    expect(log.page(511, 3).map(e => e.seq)).toEqual([512, 513, 514]);
    expect(log.page(699, 10).map(e => e.what)).toEqual(['change 699', 'one more']);
    expect(log.page(701, 10)).toEqual([]);
    await log.close();
    expect(statSync(path()).mode & 0o777).toBe(0o600);
  });
  test('a line that was cut off goes, and that is noted', async () => {
    await noted(3);
    appendFileSync(path(), '{"seq":4,"at":"19');
    const log = new AuditLog(path(), () => 0);
    await log.add({ who: 'me', what: 'after' });
    expect(log.page(3, 10).map(e => [e.seq, e.what, e.detail])).toEqual([[4, 'audit log: a torn line was cut off', '17 bytes'], [5, 'after', undefined]]);
    await log.close();
    await noted(0);
    expect(readFileSync(path(), 'utf8').trimEnd().split('\n')).toHaveLength(5);
  });
  test('a line that was changed or taken out shows', async () => {
    await noted(5);
    const lines = readFileSync(path(), 'utf8').split('\n');
    for (const changed of [lines.toSpliced(2, 1), lines.with(2, lines[2]!.replace('"me"', '"you"')), lines.with(2, 'no json')]) {
      writeFileSync(path(), changed.join('\n'));
      const log = new AuditLog(path(), () => 0);
      await log.add({ who: 'me', what: 'after' });
      expect(log.page(0, 100).map(e => `${e.what} ${e.detail ?? ''}`)).toContainEqual(expect.stringMatching(/^audit log: it was changed by other hands entry [34] /));
      await log.close();
    }
  });

  describe('in several files', () => {
    const LIMITS = { fileBytes: 2000, keptFiles: 3 };
    const filled = async (count: number): Promise<void> => {
      const log = new AuditLog(path(), () => 0, LIMITS);
      for (let i = 0; i < count; i++) expect(await log.add({ who: 'me', what: `change ${i}` })).toBeGreaterThan(i);
      await log.close();
    };
    test('numbers, pages and chain go on, over restarts and when the oldest files are gone; its size is bounded', async () => {
      for (let life = 0; life < 4; life++) await filled(50);
      const files = auditFiles(path()), { entries, firstSeq, lastSeq, ...rest } = verifyAudit(path());
      expect(rest).toEqual({ files: 4, tornBytes: 0 });
      expect(firstSeq).toBeGreaterThan(100);
      expect(entries).toBe(lastSeq - firstSeq + 1);
      for (const file of files) expect([statSync(file.path).size < 2200, statSync(file.path).mode & 0o777]).toEqual([true, 0o600]);
      const log = new AuditLog(path(), () => 0, LIMITS), seen: number[] = [];
      for (let page = log.page(0, 7); page.length > 0; page = log.page(page.at(-1)!.seq, 7)) seen.push(...page.map(e => e.seq));
      expect(seen).toEqual(Array.from({ length: entries }, (_, i) => firstSeq + i));
      expect(log.page(lastSeq - 1, 10).map(e => e.what)).toEqual(['change 49']);
      await log.close();
    });
    test('what was changed or taken out of any file shows, a whole file too', async () => {
      await filled(70);
      const files = auditFiles(path()), middle = files[1]!.path, text = readFileSync(middle, 'utf8'), lines = text.split('\n'), { firstSeq } = files[1]!;
      expect(verifyAudit(path()).brokenAt).toBeUndefined();
      writeFileSync(middle, lines.toSpliced(2, 1).join('\n'));
      expect(verifyAudit(path()).brokenAt).toBe(firstSeq + 3);
      writeFileSync(middle, lines.slice(0, -3).join('\n') + '\n');
      expect(verifyAudit(path()).brokenAt).toBe(files[2]!.firstSeq);
      rmSync(middle);
      expect(verifyAudit(path()).brokenAt).toBe(files[2]!.firstSeq);
      writeFileSync(middle, text);
      expect(verifyAudit(path()).brokenAt).toBeUndefined();
    });
    test('a host that was killed while it set a file aside goes on with the next one', async () => {
      await filled(10);
      const { lastSeq } = verifyAudit(path());
      for (const left of [[], ['']]) {
        renameSync(path(), `${path()}.${'1'.padStart(12, '0')}`);
        for (const text of left) writeFileSync(path(), text);
        const log = new AuditLog(path(), () => 0);
        expect(await log.add({ who: 'me', what: 'after' })).toBe(lastSeq + 2);
        await log.close();
        expect(verifyAudit(path())).toEqual({ files: 2, entries: lastSeq + 2, firstSeq: 1, lastSeq: lastSeq + 2, tornBytes: 0 });
        rmSync(path());
        renameSync(`${path()}.${'1'.padStart(12, '0')}`, path());
      }
    });
  });
});

test('a restart policy: when, and after what pause', () => {
  const when = (policy: 'always' | 'on-failure' | 'never'): boolean[] => [{ reason: SHUTDOWN_poweroff }, { reason: SHUTDOWN_crash }, { reason: SHUTDOWN_watchdog }, {}, { error: 'x' }].map(why => restartsAfter({ ...NO_RESTART, policy }, why));
  expect([when('always'), when('on-failure'), when('never')]).toEqual([[true, true, true, true, true], [false, true, true, false, true], [false, false, false, false, false]]);
  expect([0, 1, 2, 5, 6, 2000].map(n => pauseSeconds(NO_RESTART, n))).toEqual([1, 2, 4, 32, 60, 60]);
});

test('tokens: a scope holds what is below it; what is not one is none', () => {
  const tokens = new Tokens(openDatabase(':memory:'), () => 1000), { token, view } = tokens.create('a', 'operate', 2000);
  expect([allows('operate', 'read'), allows('operate', 'admin'), tokens.check(token)?.id]).toEqual([true, false, view.id]);
  for (const wrong of ['', 'xen_', token.slice(0, -1), `${token}x`, token.toUpperCase(), `xen_${'a'.repeat(10)}_${'A'.repeat(43)}`]) expect(tokens.check(wrong)).toBeUndefined();
  expect(new Set(Array.from({ length: 100 }, (_, i) => tokens.create(`${i}`, 'read').token)).size).toBe(100);
});

test('operations: what a disk does not take is done all the same, and the old ones are forgotten', async () => {
  const database = openDatabase(':memory:'), problems: string[] = [];
  const operations = new Operations({ database, nowMs: () => 0, problemOf: error => ({ code: 'x', detail: String(error) }), log: { info: () => {}, warn: () => {}, error: (_, message) => { problems.push(message); } } });
  for (let i = 0; i < 1010; i++) await operations.run({ kind: 'k', target: `t${i}`, who: 'me' }, async () => i).done;
  expect([operations.list({ limit: 2000 }).length, operations.list()[0]]).toEqual([1000, expect.objectContaining({ target: 't1009', state: 'succeeded', result: 1009 })]);
  let finish = (): void => {};
  const { id, done } = operations.run({ kind: 'k', target: 'long', who: 'me' }, () => new Promise<void>(resolve => { finish = resolve; }));
  expect((await operations.ended(id, 10)).state).toBe('running');
  database.exec("CREATE TRIGGER full BEFORE UPDATE ON operations BEGIN SELECT raise(ABORT, 'disk full'); END");
  finish();
  await done;
  expect(problems).toEqual(['the end of an operation cannot be stored']);
  database.exec('DROP TRIGGER full');
  expect(operations.reportInterrupted().map(o => o.target)).toEqual(['long']);
});

test('where it all is', () => {
  expect(stateFolder({ XENOLITH_STATEDIR: '/s', XENOLITH_RUNDIR: '/r' }).dir).toBe('/s');
  expect(stateFolder({ XENOLITH_RUNDIR: '/r', XDG_STATE_HOME: '/x' }).database).toBe('/r/state/xenolith.db');
  expect(stateFolder({ XDG_STATE_HOME: '/x' }).dir).toBe('/x/xenolith');
  expect(stateFolder({}).dir).toMatch(/\/\.local\/state\/xenolith$/);
});
