#!/usr/bin/env bash
# pjdfstest: some 8,800 checks of what system calls do, by several users. Needs a mount by root with
# --allow-other, and PJDFSTEST, a folder where it was built (github.com/pjd/pjdfstest).
set -eu
test -n "${PJDFSTEST:-}" || { echo 'PJDFSTEST names no folder with a built pjdfstest'; exit 77; }
test "$(id -u)" = 0 || { echo 'pjdfstest needs root'; exit 77; }
command -v prove > /dev/null || { echo 'prove is not installed (Debian package perl)'; exit 77; }
cd "$1"
chmod 755 .
report=$(mktemp)
trap 'rm -f "$report"' EXIT
status=0
prove -r "$PJDFSTEST/tests" > "$report" 2>&1 || status=1
grep '^Files=2' "$report" || { tail -5 "$report"; exit 1; }
sed -nE 's#^.*/tests/([a-z_]+/[0-9]+)\.t .*Failed: ([1-9][0-9]*)\)#\1: \2 failed#p' "$report"
exit $status
