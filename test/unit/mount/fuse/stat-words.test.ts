/**
 * The words that carry stat and statfs to the kernel: places, halves, cuts.
 */
import { assert, bigInt, integer, property } from 'fast-check'
import t from 'tap'
import { statWords, writeStat, writeStatfs } from '../../../../mount/fuse/stat-words.ts'
import type { Stat } from '../../../../mount/vfs/api.ts'

const base: Stat = {
  inode: 7,
  mode: 0o100644,
  nlink: 2,
  uid: 1_000,
  gid: 1_001,
  rdev: 0x0801,
  size: 0,
  blocks: 0,
  atime: 0n,
  mtime: 0n,
  ctime: 0n,
}

function wide(words: Uint32Array, at: number): number {
  return (words[at] ?? 0) + (words[at + 1] ?? 0) * 2 ** 32
}

function written(stat: Partial<Stat>): Uint32Array {
  const words = new Uint32Array(statWords)
  writeStat({ ...base, ...stat }, words)
  return words
}

t.test('every field is where fuse-native reads it', async (t) => {
  const words = written({
    size: 5,
    blocks: 8,
    atime: 1_000_000n,
    mtime: 2_000_000n,
    ctime: 3_999_999n,
  })
  const expected = [0o100644, 1_000, 1_001, 5, 0, 0, 2, 7, 0x0801, 131_072, 8, 0, 1, 0, 2, 0, 3, 0]
  t.same([...words], expected)
})

t.test('sizes up to 16 TiB survive the split into halves', async (t) => {
  const sizes = integer({ min: 0, max: 2 ** 44 })
  assert(property(sizes, (size) => wide(written({ size }), 3) === size))
  t.pass()
})

t.test('times are cut to whole milliseconds, exactly', async (t) => {
  const times = bigInt({ min: 0n, max: 2n ** 63n - 1n })
  assert(property(times, (mtime) => BigInt(wide(written({ mtime }), 14)) === mtime / 1_000_000n))
  t.pass()
})

t.test('a time before 1970 becomes 1970', async (t) => {
  t.equal(wide(written({ mtime: -1n }), 14), 0)
})

t.test('stats stand one after the other', async (t) => {
  const words = new Uint32Array(2 * statWords)
  writeStat(base, words, 0)
  writeStat({ ...base, inode: 8 }, words, statWords)
  t.equal(words[7], 7)
  t.equal(words[statWords + 7], 8)
})

t.test('a store of any size is told to one part in a thousand', async (t) => {
  const totals = integer({ min: 2 ** 30, max: 2 ** 53 - 1 })
  assert(
    property(totals, (totalBytes) => {
      const words = new Uint32Array(11)
      writeStatfs({ totalBytes, freeBytes: Math.floor(totalBytes / 2), inodes: 10 }, words)
      const [, blockBytes = 0, blocks = 0, free = 0, available = 0] = words
      const close = (value: number, wanted: number): boolean => Math.abs(value / wanted - 1) < 0.001
      return close(blocks * blockBytes, totalBytes) && close(free * 2, blocks) && free === available
    }),
  )
  t.pass()
})
