#!/usr/bin/env bash
# rsync -aX twice: the second run finds nothing to do, so sizes, times, modes and links were kept.
set -eu
command -v rsync > /dev/null || { echo 'rsync is not installed'; exit 77; }
cd "$1"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

mkdir -p "$scratch/from/deep/er"
for n in $(seq 40); do head -c $((n * 7000)) /dev/urandom > "$scratch/from/deep/$n"; done
ln -s deep/1 "$scratch/from/link"
ln "$scratch/from/deep/2" "$scratch/from/deep/er/hard"
chmod 640 "$scratch/from/deep/3"
rsync -aHX "$scratch/from/" to/
diff -r "$scratch/from" to
test -z "$(rsync -aHX --itemize-changes "$scratch/from/" to/)"
echo changed >> "$scratch/from/deep/5"
test "$(rsync -aHX --itemize-changes "$scratch/from/" to/ | wc -l)" = 1
rsync -aHX --delete to/ "$scratch/back/"
diff -r "$scratch/from" "$scratch/back"
