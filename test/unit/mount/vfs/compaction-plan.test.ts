import * as fc from 'fast-check'
import t from 'tap'
import type { Extent } from '../../../../schema/generated/common.ts'
import { overlay } from '../../../../schema/wire/extents.ts'
import { runsToRewrite } from '../../../../mount/vfs/compaction-plan.ts'

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
