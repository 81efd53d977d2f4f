#!/bin/bash
# What a MooseFS master needs for as many files: resident memory, stop, and start to the first answer.
#
#   moosefs-master.sh DIR FILES     (as root; Debian packages moosefs-master, moosefs-client, fuse3)
#
# Ten thousand empty files of 64 MB are made through a mount, then copied by mfsmakesnapshot, which makes
# new inodes and names in the master alone. Without chunkservers there are no chunks, so this is what
# nodes and names take, and less than a master with data needs.
set -eu
dir=$1 files=$2 base=10000 port=19419
mkdir -p "$dir/state" "$dir/mnt"
cp /var/lib/mfs/metadata.mfs.empty "$dir/state/metadata.mfs"
echo '* / rw,alldirs,admin,maproot=0:0' >"$dir/exports.cfg"
: >"$dir/topology.cfg"
cat >"$dir/master.cfg" <<X
WORKING_USER = root
WORKING_GROUP = root
DATA_PATH = $dir/state
EXPORTS_FILENAME = $dir/exports.cfg
TOPOLOGY_FILENAME = $dir/topology.cfg
MATOML_LISTEN_HOST = 127.0.0.1
MATOCS_LISTEN_HOST = 127.0.0.1
MATOCL_LISTEN_HOST = 127.0.0.1
MATOML_LISTEN_PORT = $port
MATOCS_LISTEN_PORT = $((port + 1))
MATOCL_LISTEN_PORT = $((port + 2))
X
now() { date +%s.%N; }
since() { echo "$(now) - $1" | bc; }
mount_it() { mfsmount -H 127.0.0.1 -P $((port + 2)) "$dir/mnt" >/dev/null; }
unmount_it() { fusermount3 -u "$dir/mnt" || umount -l "$dir/mnt"; }
rss() { awk '/VmRSS/ {printf "%.0f MB", $2 / 1000}' "/proc/$(cat "$dir/state/.mfsmaster.lock")/status"; }
start() { mfsmaster -c "$dir/master.cfg" start >/dev/null 2>&1; }
stop() { mfsmaster -c "$dir/master.cfg" stop >/dev/null 2>&1; }
trap 'unmount_it 2>/dev/null || :; stop || :' EXIT

start
sleep 1
mount_it
python3 - "$dir/mnt" $base <<'X'
import os, sys
top, base = sys.argv[1], int(sys.argv[2])
os.mkdir(f'{top}/d0')
for i in range(base):
    fd = os.open(f'{top}/d0/a name of some length {i:08}', os.O_CREAT | os.O_WRONLY)
    os.ftruncate(fd, 64 << 20)
    os.close(fd)
X
echo "made $base files"
began=$(now)
for ((i = 1; i < files / base; i++)); do mfsmakesnapshot "$dir/mnt/d0" "$dir/mnt/d$i" >/dev/null; done
echo "$files files after $(since "$began") s of snapshots, RSS $(rss)"
unmount_it
began=$(now)
stop
echo "stop: $(since "$began") s, $(stat -c %s "$dir/state/metadata.mfs") bytes of metadata.mfs"
began=$(now)
start
mount_it
ls "$dir/mnt/d0/a name of some length 00000001" >/dev/null
echo "start to first answer: $(since "$began") s, RSS $(rss)"
