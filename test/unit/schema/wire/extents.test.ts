/**
 * Extents against a flat array of bytes: whatever is overlaid and cut, the list stands for the same
 * bytes, and stays sorted, disjoint and joined.
 */
import fc from 'fast-check'
import t from 'tap'
import type { Extent } from '../../../../schema/generated/common.ts'
import { coveredBytes, overlay, truncate } from '../../../../schema/wire/extents.ts'

const WINDOW = 64

const change = fc.oneof(
  fc
    .record({
      chunk: fc.integer({ min: 1, max: 3 }),
      offset: fc.nat(WINDOW - 1),
      length: fc.integer({ min: 1, max: WINDOW }),
      chunkOffset: fc.nat(20),
    })
    .map((extent) => ({ ...extent, length: Math.min(extent.length, WINDOW - extent.offset) })),
  fc.record({ cut: fc.nat(WINDOW) }),
)

/** Each byte of the window as `chunk:position in chunk`, or undefined for a hole. */
function flatten(extents: readonly Extent[]): (string | undefined)[] {
  const bytes: (string | undefined)[] = Array.from({ length: WINDOW })
  for (const extent of extents) {
    for (let i = 0; i < extent.length; i++) {
      bytes[extent.offset + i] = `${extent.chunk}:${extent.chunkOffset + i}`
    }
  }
  return bytes
}

t.test('overlay and truncate stand for the same bytes as a flat array', async (t) => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      let extents: Extent[] = []
      const model: (string | undefined)[] = Array.from({ length: WINDOW })
      for (const step of changes) {
        if ('cut' in step) {
          extents = truncate(extents, step.cut)
          model.fill(undefined, step.cut)
          continue
        }
        extents = overlay(extents, [step])
        for (let i = 0; i < step.length; i++) {
          model[step.offset + i] = `${step.chunk}:${step.chunkOffset + i}`
        }
      }
      t.same(flatten(extents), model)
      t.equal(coveredBytes(extents), model.filter((byte) => byte !== undefined).length)
    }),
  )
})

t.test('a list is sorted, disjoint, without empty or joinable neighbours', async (t) => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      let extents: Extent[] = []
      for (const step of changes) {
        extents = 'cut' in step ? truncate(extents, step.cut) : overlay(extents, [step])
      }
      for (const [i, extent] of extents.entries()) {
        if (extent.length <= 0) return false
        const next = extents[i + 1]
        if (next === undefined) continue
        const end = extent.offset + extent.length
        if (next.offset < end) return false
        const continues =
          next.offset === end &&
          next.chunk === extent.chunk &&
          next.chunkOffset === extent.chunkOffset + extent.length
        if (continues) return false
      }
      return true
    }),
  )
  t.pass('held in every run')
})

t.test('many changes at once give what they give one by one', async (t) => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
      const extents = changes.filter((step): step is Extent => !('cut' in step))
      const oneByOne = extents.reduce<Extent[]>((list, extent) => overlay(list, [extent]), [])
      t.same(overlay([], extents), oneByOne)
    }),
  )
})
