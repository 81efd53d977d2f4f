import * as fc from 'fast-check'
import t from 'tap'
import type { Extent } from '../../../../schema/generated/common.ts'
import { overlay } from '../../../../schema/wire/extents.ts'
import {
  addedSince,
  covers,
  isWorthRewriting,
  runsToRewrite,
} from '../../../../mount/vfs/compaction-plan.ts'

const extents = fc
  .array(
    fc.record({
      chunk: fc.integer({ min: 1, max: 4 }),
      offset: fc.integer({ min: 0, max: 5_000 }),
      length: fc.integer({ min: 1, max: 30 }),
      chunkOffset: fc.integer({ min: 0, max: 1_000 }),
    }),
    { minLength: 1, maxLength: 120 },
  )
  .map((added) => overlay([], added))

t.test('runs hold every byte, in order, and are as few as asked for', async (t) => {
  const law = fc.property(extents, fc.integer({ min: 1, max: 60 }), (list, max) => {
    const runs = runsToRewrite(list, max)
    const inOrder = runs.every(
      (run, index) => run.from < run.to && run.from > (runs[index - 1]?.to ?? -1),
    )
    const holds = list.every(({ offset, length }) =>
      runs.some((run) => run.from <= offset && run.to >= offset + length),
    )
    return inOrder && holds && runs.length <= max
  })
  t.doesNotThrow(() => fc.assert(law))
})

t.test('the smallest holes are filled, and no more than needed', async (t) => {
  const at = (offset: number): Extent => ({ chunk: 1, offset, length: 10, chunkOffset: 0 })
  const list = [at(0), at(15), at(1_000), at(1_012), at(5_000)]
  t.same(runsToRewrite(list, 3), [
    { from: 0, to: 25 },
    { from: 1_000, to: 1_022 },
    { from: 5_000, to: 5_010 },
  ])
  t.equal(runsToRewrite(list, 5).length, 5)
  t.same(runsToRewrite(list, 1), [{ from: 0, to: 5_010 }])
})

t.test('equal holes are filled from the front', async (t) => {
  const list = [0, 20, 40, 60].map((offset) => ({ chunk: 1, offset, length: 10, chunkOffset: 0 }))
  t.same(runsToRewrite(list, 3), [
    { from: 0, to: 30 },
    { from: 40, to: 50 },
    { from: 60, to: 70 },
  ])
})

t.test('what is written while a window is rewritten stays on top of it', async (t) => {
  const law = fc.property(extents, extents, (before, written) => {
    // Chunks of its own, as every write makes.
    const newer = written.map((extent) => ({ ...extent, chunk: extent.chunk + 100 }))
    const now = overlay(before, newer)
    if (!covers(now, before)) return false
    let chunkOffset = 0
    const rewritten = runsToRewrite(before, 5).map(({ from, to }) => {
      const extent = { chunk: 999, offset: from, length: to - from, chunkOffset }
      chunkOffset += to - from
      return extent
    })
    const after = overlay(now, [...rewritten, ...addedSince(before, now)])
    const at = (list: readonly Extent[], offset: number): Extent | undefined =>
      list.find((e) => e.offset <= offset && offset < e.offset + e.length)
    for (let offset = 0; offset < 5_100; offset++) {
      const newest = at(newer, offset)
      const found = at(after, offset)
      if (newest !== undefined) {
        const same = found?.chunk === newest.chunk
        if (!same || found.offset - found.chunkOffset !== newest.offset - newest.chunkOffset) {
          return false
        }
      } else if (at(before, offset) !== undefined && found?.chunk !== 999) return false
    }
    return true
  })
  t.doesNotThrow(() => fc.assert(law, { numRuns: 50 }))
})

t.test('a window that was cut meanwhile is left alone', async (t) => {
  const one = { chunk: 1, offset: 0, length: 100, chunkOffset: 0 }
  t.ok(covers([one], [one]))
  t.notOk(covers([{ ...one, length: 99 }], [one]))
  t.notOk(covers([], [one]))
})

t.test('an extent of an old chunk at a new place counts as added', async (t) => {
  const one = { chunk: 1, offset: 0, length: 100, chunkOffset: 0 }
  const moved = { chunk: 1, offset: 200, length: 10, chunkOffset: 0 }
  t.same(addedSince([one], [one, moved]), [moved])
  t.same(addedSince([one], [{ ...one, offset: 10, chunkOffset: 10, length: 90 }]), [])
})

t.test(
  'rewriting pays when the commits since the last one went through enough extents',
  async (t) => {
    const scattered = (count: number, apart: number): Extent[] =>
      Array.from({ length: count }, (_, index) => ({
        chunk: index + 1,
        offset: index * apart,
        length: 100,
        chunkOffset: 0,
      }))
    const log = scattered(512, 100)
    t.equal(isWorthRewriting(log.slice(1), Infinity), false, 'few extents are no burden')
    t.equal(isWorthRewriting(log, 511), false)
    t.equal(isWorthRewriting(log, 512), true, 'a short log after one commit')
    const database = scattered(8_192, 8_192)
    t.equal(isWorthRewriting(database, 8 * 8_192), false, 'a large window not after eight')
    t.equal(isWorthRewriting(database, 100 * 8_192), true)
    t.equal(isWorthRewriting([], Infinity), false)
  },
)
