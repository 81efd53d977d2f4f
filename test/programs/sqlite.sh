#!/usr/bin/env bash
# sqlite in rollback and in WAL mode: POSIX locks, shared memory, a crash in the middle.
set -eu
command -v python3 > /dev/null || { echo 'python3 is not installed'; exit 77; }
python3 -c 'import sqlite3' 2> /dev/null || { echo 'python3 has no sqlite3 module'; exit 77; }
cd "$1"
cat > database.py <<'PYTHON'
import os, sqlite3, sys, threading
mode = sys.argv[1]
path = f'{mode}.db'
db = sqlite3.connect(path, isolation_level=None)
assert db.execute(f'pragma journal_mode={mode}').fetchone()[0] == mode
db.execute('pragma synchronous=full')
db.execute('create table t(id integer primary key, worker int, v blob)')
db.execute('create index by_worker on t(worker)')

def work(number):
    mine = sqlite3.connect(path, isolation_level=None, timeout=60)
    for turn in range(6):
        mine.execute('begin immediate')
        mine.executemany('insert into t(worker, v) values(?, ?)', [(number, os.urandom(500))] * 20)
        mine.execute('rollback' if turn % 3 == 2 else 'commit')
    mine.close()

threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert db.execute('select count(*) from t').fetchone()[0] == 3 * 4 * 20
db.execute('update t set v = zeroblob(2000) where id % 2')
db.execute('delete from t where id % 5 = 0')
db.execute('vacuum')
kept = db.execute('select count(*) from t').fetchone()[0]
child = os.fork()
if child == 0:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute('pragma cache_size=10')
    other.execute('begin immediate')
    other.executemany('insert into t(worker, v) values(9, ?)', [(os.urandom(3000),)] * 200)
    os._exit(1)
os.waitpid(child, 0)
after = sqlite3.connect(path)
assert after.execute('select count(*) from t').fetchone()[0] == kept, 'what was not committed is gone'
assert after.execute('pragma integrity_check').fetchone()[0] == 'ok'
PYTHON
python3 database.py delete
python3 database.py truncate
python3 database.py wal
