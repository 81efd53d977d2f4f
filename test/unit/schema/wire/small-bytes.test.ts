/** Small byte arrays share memory, and nothing else. */
import fc from 'fast-check'
import t from 'tap'
import { smallBytes } from '../../../../schema/wire/small-bytes.ts'

t.test('each has its length, is zero at first, and is written by nobody else', (t) => {
  const lengths = fc.array(fc.oneof(fc.nat(64), fc.nat(5_000)), { maxLength: 60 })
  fc.assert(
    fc.property(lengths, (all) => {
      const arrays = all.map((length, i) => {
        const bytes = smallBytes(length)
        const asMade = bytes.length === length && bytes.every((byte) => byte === 0)
        bytes.fill((i % 255) + 1)
        return { bytes, asMade }
      })
      return arrays.every(
        ({ bytes, asMade }, i) => asMade && bytes.every((byte) => byte === (i % 255) + 1),
      )
    }),
  )
  t.end()
})

t.test('many small ones are in one piece of memory, a large one is in its own', (t) => {
  const pieces = new Set(Array.from({ length: 1_000 }, () => smallBytes(100).buffer))
  t.ok(pieces.size < 10, `${pieces.size} pieces`)
  t.equal(smallBytes(100_000).buffer.byteLength, 100_000)
  t.end()
})
