#!/bin/bash
# dfs as one more stack beside the peers of a benchmark: up | down | remount | pids | dir.
#
# A cluster as `dfs up` makes it: three chunkservers in two racks, two replicas (REPLICAS to change),
# everything on the disk that holds $PEERS_ROOT/data, mounted on $PEERS_ROOT/mnt/dfs. `down` removes it.
# NODE_OPTIONS reaches every process of it, for profiles.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${PEERS_ROOT:-/tmp/peers}
cluster=$root/data/dfs mount=$root/mnt/dfs
dfs() { node "$here/../../../dist/bin/dfs.js" "$@"; }
pid() { grep -o '"pid":[0-9]*' "$1" | cut -d: -f2; }

up() {
  mkdir -p "$root/data" "$mount"
  dfs up --dir "$cluster" --mount "$mount" --replicas "${REPLICAS:-2}" --detach >&2
}
down() {
  [ ! -e "$cluster/cluster.json" ] || dfs down --dir "$cluster" >&2
  rm -rf "$cluster"
}
remount() {
  local mark=$cluster/run/mount.pid mounted
  mounted=$(pid "$mark")
  kill "$mounted"
  while kill -0 "$mounted" 2>/dev/null; do sleep 0.1; done
  up
}
pids() { local mark; for mark in "$cluster"/run/*.pid; do pid "$mark"; done; }

case ${1:-} in
  up) down; up ;;
  down | remount | pids) "$1" ;;
  dir) echo "$mount" ;;
  *) echo "usage: $0 up|down|remount|pids|dir" >&2; exit 64 ;;
esac
