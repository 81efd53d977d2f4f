#!/usr/bin/env bash
# vim's save: backup by rename, a new file, fsync, the old attributes, swap file.
set -eu
command -v vim > /dev/null || { echo 'vim is not installed'; exit 77; }
cd "$1"
export HOME="$PWD"
for backup in yes no auto; do
  seq 2000 > "text-$backup"
  chmod 640 "text-$backup"
  vim -Nu NONE -es -n -c "set backupskip= backup backupcopy=$backup writebackup fsync" \
    -c '%s/^1000$/changed/' -c 'wq' "text-$backup" < /dev/null
  grep -q '^changed$' "text-$backup"
  test "$(stat -c %a "text-$backup")" = 640
  grep -q '^1000$' "text-$backup~"
done
vim -Nu NONE -es -c 'set swapfile directory=.' -c 'normal ggdd' -c 'preserve' -c 'w' -c 'normal Goend' -c 'wq' text-no < /dev/null
test "$(tail -1 text-no)" = end
test "$(head -1 text-no)" = 2
test -z "$(find . -name '*.sw?')"
