#!/usr/bin/env bash
# PostgreSQL: initdb, pgbench, kill -9 in the middle, recovery, checksums.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin 2> /dev/null | tail -1)
test -n "$bin" || { echo 'PostgreSQL is not installed (Debian package postgresql)'; exit 77; }
test "$(id -u)" != 0 || { echo 'PostgreSQL does not run as root; run this as the user who mounted'; exit 77; }
cd "$1"
sockets=$(mktemp -d)
data="$PWD/data"
stop() {
  "$bin/pg_ctl" -D "$data" -m immediate stop > /dev/null 2>&1 || true
  rm -rf "$sockets"
}
trap stop EXIT
start() {
  "$bin/pg_ctl" -w -t 120 -D "$data" -o "-k $sockets -c listen_addresses=''" -l "$sockets/log" start > /dev/null ||
    { tail -20 "$sockets/log"; exit 1; }
}
"$bin/initdb" -D "$data" -U bench --data-checksums --no-locale -E UTF8 > /dev/null
start
export PGHOST=$sockets PGUSER=bench PGDATABASE=postgres
pgbench -q -i -s 2 > /dev/null 2>&1
pgbench -n -c 4 -T 10 2>&1 | grep -E 'tps|latency average|failed'
pgbench -n -c 4 -T 20 > /dev/null 2>&1 &
sleep 3
kill -9 "$(head -1 "$data/postmaster.pid")"
wait || true
sleep 2
rm -f "$data/postmaster.pid"
start
test "$("$bin/psql" -Atc 'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)')" = t
"$bin/pg_ctl" -w -D "$data" stop > /dev/null
"$bin/pg_checksums" --check -D "$data" | grep -q 'Bad checksums:  0'
