#!/usr/bin/env bash
# make and gcc: archives, linking, running what was built, and rebuilding by times.
set -eu
command -v make > /dev/null || { echo 'make is not installed'; exit 77; }
command -v gcc > /dev/null || { echo 'gcc is not installed'; exit 77; }
cd "$1"

for n in $(seq 12); do
  printf '#include "all.h"\nint part%d(void) { return %d; }\n' "$n" "$n" > "part$n.c"
  echo "int part$n(void);" >> all.h
done
{
  echo '#include <stdio.h>'
  echo '#include "all.h"'
  echo 'int main(void) { printf("%d\n", 0'
  for n in $(seq 12); do echo "+ part$n()"; done
  echo '); return 0; }'
} > main.c
cat > Makefile <<'MAKE'
OBJECTS = $(patsubst %.c,%.o,$(wildcard part*.c))
program: main.o libparts.a
	gcc -g -o $@ main.o -L. -lparts
libparts.a: $(OBJECTS)
	ar rcs $@ $^
%.o: %.c all.h
	gcc -g -O2 -c -o $@ $<
MAKE
make -s -j4
test "$(./program)" = 78
make -q
sleep 0.05
sed -i 's/return 3;/return 30;/' part3.c
test "$(make -j4 | grep -c '^gcc.* -c ')" = 1
test "$(./program)" = 105
gcc -shared -fPIC -o libshared.so part1.c
gcc -o linked -x c - -L. -lshared -Wl,-rpath,"$PWD" <<< 'int part1(void); int main(void) { return part1(); }'
status=0
./linked || status=$?
test "$status" = 1
