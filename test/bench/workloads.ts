// What the benchmark runs: programs of Debian's packages, each a shell command carried out in the same root file system.

export interface Workload {
  readonly name: string;
  readonly command: string;
  /** Where the program itself says how fast it was: a rate, matched in its output. Otherwise the time it takes counts. */
  readonly rate?: RegExp;
  /** Needs a block device of its own: not for native runs. */
  readonly disk?: true;
}

export const PACKAGES = [
  'systemd', 'systemd-sysv', 'udev', 'dbus', 'login', 'passwd', 'kmod', 'procps',
  'gzip', 'zstd', '7zip', 'openssl', 'sysbench', 'python3', 'perl', 'sqlite3', 'gcc', 'libc6-dev', 'libstb-dev',
];

const PYTHON = `import random, json, re
random.seed(1)
words = [''.join(random.choice('abcdefgh') for _ in range(random.randint(2, 9))) for _ in range(6000)]
count = {}
for w in words * 4: count[w] = count.get(w, 0) + 1
total = sum(len(json.dumps({'w': w, 'n': n})) for w, n in sorted(count.items()))
total += sum(1 for w in words if re.search('a.*b+c?', w))
class Node:
    def __init__(self, depth): self.children = [Node(depth - 1), Node(depth - 1)] if depth else []
    def size(self): return 1 + sum(c.size() for c in self.children)
total += Node(11).size()
print(total, sum(i * i % 7 for i in range(120000)))
`;
const PERL = `my ($s, %h) = (1);
for my $i (1 .. 120000) { $s = ($s * 1103515245 + 12345) % 2147483648; $h{$s % 5000} .= chr(97 + $s % 26) if $i % 3 == 0; $n++ if "x$s" =~ /(\\d)\\1+5?/; }
print join(',', $n, scalar(keys %h), length(join('', map { reverse sort split //, $h{$_} } sort { $a <=> $b } keys %h))), "\\n";
`;
const SQL = `CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, v REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO t SELECT i, 'name' || (i * 7919 % 20011), i * 0.5 FROM n;
CREATE INDEX by_name ON t(name);
SELECT count(*), sum(v) FROM t WHERE name LIKE 'name1%';
SELECT count(*) FROM t a JOIN t b ON a.name = b.name;
UPDATE t SET v = v + 1 WHERE id % 3 = 0;
DELETE FROM t WHERE name > 'name5';
SELECT count(*), round(avg(v), 2) FROM t;
`;
const STB = `#define STB_TRUETYPE_IMPLEMENTATION
#include <stb/stb_truetype.h>
int main(void) { return 0; }
`;
/** O_DIRECT wants aligned memory, which an anonymous mapping is. */
const RANDOM_READS = `import os, mmap, random, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT); blocks = os.lseek(fd, 0, 2) // 4096
buffer = mmap.mmap(-1, 4096); random.seed(3)
for _ in range(2000): os.preadv(fd, [buffer], random.randrange(blocks) * 4096)
`;
/** PID 1 of the machine: carries out one line after the other. \`DISK\` is the scratch disk. */
const AGENT = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
if [ $$ = 1 ]; then
  mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /run; dmesg -n 1
  for d in /dev/xvdb /dev/vdb; do [ -b $d ] && export DISK=$d; done
  stty -echo
fi
cd /tmp
echo "@ready"
while IFS= read -r line; do
  sh -c "$line" >/tmp/.out 2>&1
  status=$?
  cat /tmp/.out
  echo "@end $status"
done
`;
export const FILES: Readonly<Record<string, string>> = { '/bench/agent': AGENT, '/bench/work.py': PYTHON, '/bench/work.pl': PERL, '/bench/work.sql': SQL, '/bench/stb.c': STB, '/bench/random-reads.py': RANDOM_READS };
/** 8 MiB of programs and libraries: what compressors meet in practice. */
export const FINISH = 'cat "$1"/usr/lib/python3.11/*.py "$1"/usr/bin/perl "$1"/usr/lib/x86_64-linux-gnu/libcrypto.so.3 | head -c 8388608 > "$1/bench/data"';

export const WORKLOADS: readonly Workload[] = [
  { name: 'shell loop', command: 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done' },
  { name: 'fork+exec', command: 'i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done' },
  { name: 'gzip', command: 'gzip -6 < /bench/data | gzip -d | wc -c' },
  { name: 'zstd', command: 'zstd -q -3 < /bench/data | zstd -q -d | wc -c' },
  { name: '7z b', command: '7zz b 1 -mmt1 -md18', rate: /^Tot:\s+\d+\s+\d+\s+(\d+)/m },
  { name: 'openssl sha256', command: 'openssl speed -mr -seconds 1 -bytes 8192 -evp sha256', rate: /^\+F:\d+:[^:]+:([\d.]+)/m },
  { name: 'openssl aes-128-cbc', command: 'openssl speed -mr -seconds 1 -bytes 8192 -evp aes-128-cbc', rate: /^\+F:\d+:[^:]+:([\d.]+)/m },
  { name: 'openssl rsa2048 sign', command: "openssl speed -mr -seconds 1 rsa2048 | awk -F: '/^.F2/ { print \"rate\", $4 }'", rate: /^rate ([\d.]+)/m },
  { name: 'sysbench cpu', command: 'sysbench cpu --cpu-max-prime=5000 --events=300 --time=0 run' },
  { name: 'sysbench memory', command: 'sysbench memory --memory-block-size=1K --memory-total-size=200M --time=0 run' },
  { name: 'python3', command: 'python3 /bench/work.py' },
  { name: 'perl', command: 'perl /bench/work.pl' },
  { name: 'sqlite3', command: 'rm -f /tmp/x.db; sqlite3 /tmp/x.db < /bench/work.sql' },
  { name: 'gcc', command: 'gcc -O1 -w -o /tmp/stb /bench/stb.c -lm' },
  { name: 'disk write', command: 'dd if=/dev/zero of=$DISK bs=1M count=64 oflag=direct conv=fsync', disk: true },
  { name: 'disk read', command: 'dd if=$DISK of=/dev/null bs=1M count=64 iflag=direct', disk: true },
  { name: 'disk random 4 KiB', command: 'python3 /bench/random-reads.py $DISK', disk: true },
];
