import t from 'tap'
import { limits } from '../../../../schema/wire/limits.ts'
import { BlockCache } from '../../../../mount/vfs/block-cache.ts'
import { ReadAhead } from '../../../../mount/vfs/read-ahead.ts'

const BLOCK = limits.blockBytes

/** The first bytes of a block, undefined when they are not there. */
function blockOf(
  cache: BlockCache,
  chunk: number,
  block: number,
  length: number,
): Buffer | undefined {
  const into = Buffer.alloc(length)
  return cache.copy({ chunk, block, from: 0, length, at: 0 }, into) ? into : undefined
}

t.test(
  'what was put or copied out may be changed, also when its memory is used again',
  async (t) => {
    const cache = new BlockCache(4 * BLOCK)
    const source = Buffer.alloc(BLOCK)
    const copies: Buffer[] = []
    for (let block = 0; block < 20; block++) {
      cache.put(7, block, source.fill(block))
      const copy = blockOf(cache, 7, block, BLOCK)
      if (copy !== undefined) copies.push(copy)
      source.fill(255)
      t.same(blockOf(cache, 7, Math.max(0, block - 1), 1), Buffer.of(Math.max(0, block - 1)))
    }
    t.same(
      copies,
      Array.from({ length: 20 }, (_, block) => Buffer.alloc(BLOCK, block)),
    )
  },
)

t.test('gives back each block, the last one of a chunk short', async (t) => {
  const cache = new BlockCache(10 * BLOCK)
  cache.put(9, 5, Buffer.alloc(BLOCK, 1))
  cache.put(9, 6, Buffer.alloc(5, 2))
  t.same(blockOf(cache, 9, 5, BLOCK), Buffer.alloc(BLOCK, 1))
  t.same(blockOf(cache, 9, 6, 5), Buffer.alloc(5, 2))
  t.equal(blockOf(cache, 9, 6, 6), undefined, 'it has no more')
  t.equal(blockOf(cache, 9, 7, 1), undefined)
  t.equal(blockOf(cache, 8, 5, 1), undefined)
})

t.test('stays within its budget, and what was used last stays longest', async (t) => {
  const cache = new BlockCache(4 * BLOCK)
  for (let chunk = 1; chunk <= 3; chunk++) cache.put(chunk, 0, Buffer.alloc(BLOCK))
  t.ok(blockOf(cache, 1, 0, 1))
  for (let chunk = 10; chunk < 12; chunk++) cache.put(chunk, 0, Buffer.alloc(BLOCK))
  t.ok(cache.bytes <= 4 * BLOCK)
  t.ok(cache.has(1, 0), 'used meanwhile')
  t.notOk(cache.has(2, 0), 'the oldest')
})

t.test('a block that came again replaces the older one, and is counted once', async (t) => {
  const cache = new BlockCache(5 * BLOCK)
  cache.put(1, 1, Buffer.alloc(BLOCK, 1))
  const once = cache.bytes
  cache.put(1, 1, Buffer.alloc(BLOCK, 2))
  t.same(blockOf(cache, 1, 1, BLOCK), Buffer.alloc(BLOCK, 2))
  t.equal(cache.bytes, once)
  cache.clear()
  t.equal(cache.bytes, 0)
  t.notOk(cache.has(1, 1))
})

t.test('a block larger than the budget is not kept', async (t) => {
  const cache = new BlockCache(BLOCK)
  cache.put(1, 0, Buffer.alloc(BLOCK))
  t.notOk(cache.has(1, 0))
  t.equal(cache.bytes, 0)
})

t.test('reading on fetches further and further ahead, in few steps', async (t) => {
  const ahead = new ReadAhead()
  const piece = 128 * 1_024
  let steps = 0
  let furthest = 0
  for (let at = 0; at < 64 * 1_024 * 1_024; at += piece) {
    const until = ahead.advance(at, at + piece)
    if (until > at + piece) {
      steps++
      t.ok(until >= furthest, 'never fetches behind what it fetched')
      furthest = until
    }
  }
  t.ok(furthest >= 64 * 1_024 * 1_024)
  t.ok(steps < 30, `${steps} fetches`)
})

t.test('jumping about fetches nothing ahead; reading on again does', async (t) => {
  const ahead = new ReadAhead()
  for (let step = 1; step < 20; step++) {
    const at = step * 50_000_000
    t.equal(ahead.advance(at, at + 4_096), at + 4_096)
  }
  const at = 19 * 50_000_000 + 4_096
  t.ok(ahead.advance(at, at + 4_096) > at + 4_096)
})

t.test('reads that overtake each other a little are still a sequence', async (t) => {
  const ahead = new ReadAhead()
  const piece = 128 * 1_024
  let fetched = 0
  for (const at of [0, 2, 1, 3, 5, 4, 6, 8, 7, 9].map((index) => index * piece)) {
    fetched = Math.max(fetched, ahead.advance(at, at + piece))
  }
  t.ok(fetched > 10 * piece)
})
