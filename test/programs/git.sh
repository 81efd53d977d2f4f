#!/usr/bin/env bash
# git: many small files, renames over open files, locks by O_EXCL, mapped packs, gc and fsck.
set -eu
command -v git > /dev/null || { echo 'git is not installed'; exit 77; }
cd "$1"
export GIT_CONFIG_NOSYSTEM=1 HOME="$PWD" GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b

git init -q -b main work
cd work
for n in $(seq 60); do
  mkdir -p "dir$((n % 7))"
  seq "$n" $((n * 20)) > "dir$((n % 7))/file$n"
done
git add .
git commit -qm first
for n in 1 2 3; do
  seq $((n * 100)) > "dir$n/file$n"
  git commit -qam "change $n"
done
git checkout -qb side HEAD~2
echo side > side
git add side
git commit -qm side
git checkout -q main
git merge -q --no-edit side
git gc -q --aggressive --prune=now
git fsck --full --strict 2>&1 | { ! grep -E 'error|missing|corrupt'; }
test -z "$(git status --porcelain)"
cd ..
git clone -q --no-hardlinks work clone
git -C clone fsck --full 2>&1 | { ! grep -E 'error|missing|corrupt'; }
diff -r --exclude=.git work clone
test "$(git -C clone log --oneline | wc -l)" = "$(git -C work log --oneline | wc -l)"
git -C work rm -rq dir1 && git -C work reset -q --hard && git -C work mv side renamed
test -z "$(git -C work status --porcelain | grep -v '^R')"
