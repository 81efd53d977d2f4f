/** Who is given the neighbours of what was missing, and who only that. */
import t from 'tap'
import { AROUND_BYTES, ReadAround } from '../../../../mount/vfs/read-around.ts'

const MIB = 1_024 * 1_024

/** What the last of many misses at `position` brings. */
function afterMany(position: number, size: number, cacheBytes: number): number | undefined {
  const around = new ReadAround()
  for (let miss = 0; miss < 100; miss++) around.missed(0, size, cacheBytes)
  return around.missed(position, size, cacheBytes)
}

t.test('a few places say nothing of the others', async (t) => {
  const around = new ReadAround()
  for (let miss = 0; miss < 16; miss++) t.equal(around.missed(0, 10 * MIB, 256 * MIB), undefined)
  t.equal(around.missed(5 * MIB + 1, 10 * MIB, 256 * MIB), 5 * MIB)
})

t.test('what is fetched contains the place', async (t) => {
  for (const position of [0, 1, AROUND_BYTES - 1, AROUND_BYTES, 7 * AROUND_BYTES + 4_097]) {
    const from = afterMany(position, 10 * MIB, 256 * MIB) ?? Infinity
    t.ok(from <= position && position < from + AROUND_BYTES, `${position}`)
  }
})

t.test('a file that would fill the cache gets only what is asked for', async (t) => {
  t.equal(afterMany(0, 128 * MIB, 256 * MIB), 0)
  t.equal(afterMany(0, 128 * MIB + 1, 256 * MIB), undefined)
})
