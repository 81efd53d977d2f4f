#!/usr/bin/env bash
# setfacl and getfacl: a mount has no ACLs beyond the mode bits, and programs that try them go on.
set -eu
command -v setfacl > /dev/null || { echo 'setfacl is not installed (Debian package acl)'; exit 77; }
cd "$1"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

echo content > file
chmod 640 file
test "$(getfacl -c file | xargs)" = 'user::rw- group::r-- other::---'
# What the mode bits can say becomes mode bits; more is refused, and changes nothing.
setfacl -m u::rwx,g::rx,o::x file
test "$(stat -c %a file)" = 751
! setfacl -m u:1:r file 2> "$scratch/error"
grep -q 'not supported' "$scratch/error"
test "$(stat -c %a file)" = 751
mkdir directory
! setfacl -d -m u:1:r directory 2> /dev/null

echo with > "$scratch/with"
setfacl -m u:1:r "$scratch/with" 2> /dev/null || echo 'the local disk has no ACLs either'
cp -a "$scratch/with" copied 2> /dev/null || true
test "$(cat copied)" = with
cp -p file "$scratch/back"
test "$(stat -c %a "$scratch/back")" = 751
ls -l file directory copied > /dev/null
if command -v rsync > /dev/null; then
  rsync -aA file directory/
  test "$(stat -c %a directory/file)" = 751
fi
