#!/usr/bin/env bash
# tar in and out with extended attributes, holes, links of both kinds, pipes, modes and times.
set -eu
command -v tar > /dev/null || { echo 'tar is not installed'; exit 77; }
command -v python3 > /dev/null || { echo 'python3 is not installed, which sets the attributes'; exit 77; }
cd "$1"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

list() {
  (cd "$1" && find . -printf '%p %y %m %s %T@ %n %l\n' | sed -E 's/^(\S+ d \S+) [0-9]+/\1/; s/(\.[0-9]{3})[0-9]*/\1/' | sort
    python3 -c 'import os
for base, _, names in sorted(os.walk(".")):
    for name in sorted(names):
        path = os.path.join(base, name)
        if os.path.isfile(path): print(path, sorted((n, os.getxattr(path, n)) for n in os.listxattr(path)))')
}
mkdir -p tree/sub/empty
for n in $(seq 30); do head -c $((n * 3000)) /dev/urandom > "tree/sub/$n"; done
python3 -c 'import os
for n in range(1, 31): os.setxattr(f"tree/sub/{n}", "user.number", b"%d" % n)'
truncate -s 40M tree/sparse
echo data | dd of=tree/sparse bs=1M seek=30 conv=notrunc status=none
ln tree/sub/1 tree/hard
ln -s sub/2 tree/soft
mkfifo tree/pipe
chmod 4711 tree/sub/3
touch -d '2001-02-03 04:05:06.789' tree/sub/4 tree/sub/empty
tar --xattrs --sparse -cf out.tar tree
test "$(stat -c %s out.tar)" -lt 5000000
mkdir "$scratch/local" mounted
tar --xattrs -xpf out.tar -C "$scratch/local"
tar --xattrs -xpf out.tar -C mounted
list tree > "$scratch/1"
list "$scratch/local/tree" > "$scratch/2"
list mounted/tree > "$scratch/3"
diff "$scratch/1" "$scratch/2"
diff "$scratch/1" "$scratch/3"
diff -r --no-dereference --exclude=pipe tree mounted/tree
tar --xattrs --compare -f out.tar
