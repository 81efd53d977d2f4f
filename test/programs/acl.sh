#!/usr/bin/env bash
# setfacl and getfacl; cp -a, rsync -A and tar --acls carry what they set, onto the mount and back.
set -eu
command -v setfacl > /dev/null || { echo 'setfacl is not installed (Debian package acl)'; exit 77; }
cd "$1"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
show() { (cd "$1" && getfacl -Rncp . && find . -printf '%p %m\n' | sort); }

echo content > file
chmod 640 file
test "$(getfacl -nc file | xargs)" = 'user::rw- group::r-- other::---'
# What the mode bits can say becomes mode bits.
setfacl -m u::rwx,g::rx,o::x file
test "$(stat -c %a file)" = 751
test "$(getfacl -ns file)" = ''
setfacl -m u:1:r file
test "$(getfacl -nc file | xargs)" = 'user::rwx user:1:r-- group::r-x mask::r-x other::--x'
setfacl -m m::- file
test "$(stat -c %a file)" = 701
setfacl -x u:1 file
setfacl -b file
test "$(getfacl -nc file | xargs)" = 'user::rwx group::r-x other::--x'
! setfacl -d -m u:1:r file 2> /dev/null

mkdir -p tree/directory
setfacl -d -m u:1:rwX,g:2:r tree/directory
umask 077
mkdir tree/directory/below
echo with > tree/directory/below/file
test "$(getfacl -nc tree/directory/below/file | xargs)" = \
  'user::rw- user:1:rwx #effective:rw- group::r-x #effective:r-- group:2:r-- mask::rw- other::r--'
setfacl -R -m g:3:x tree
ls -l tree/directory | grep -q '^d.*+ '

if ! setfacl -m u:1:r "$scratch" 2> /dev/null; then
  echo 'the local disk has no ACLs: nothing is copied'
  exit 0
fi
show tree > "$scratch/shown"
cp -a tree "$scratch/copied"
show "$scratch/copied" | diff "$scratch/shown" -
cp -a "$scratch/copied" copied
show copied | diff "$scratch/shown" -
tar --acls --xattrs -cf "$scratch/tree.tar" tree
mkdir extracted
tar --acls --xattrs -C extracted -xf "$scratch/tree.tar"
show extracted/tree | diff "$scratch/shown" -
if command -v rsync > /dev/null; then
  rsync -aAX tree/ "$scratch/synced/"
  show "$scratch/synced" | diff "$scratch/shown" -
  rsync -aAX "$scratch/synced/" synced/
  show synced | diff "$scratch/shown" -
  test "$(rsync -aAXi "$scratch/synced/" synced/)" = ''
fi
