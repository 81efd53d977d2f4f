/**
 * Background work begins in bounded pieces, in order, and all of it.
 */
import t from 'tap'
import { BackgroundTurns } from '../../../../server/metadata/background-turns.ts'

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

t.test('what asks in the same moment begins in several turns, in order', async (t) => {
  const turns = new BackgroundTurns()
  const begun: number[] = []
  const all = Array.from({ length: 12 }, async (_, i) => {
    await turns.next(64)
    begun.push(i)
  })
  await Promise.resolve()
  t.equal(begun.length, 4, '256 records in the first turn')
  let most = 0
  while (begun.length < all.length) {
    const before = begun.length
    await nextTurn()
    most = Math.max(most, begun.length - before)
  }
  t.ok(most <= 4, `${most} in a turn`)
  t.strictSame(begun, [...all.keys()])
  await Promise.all(all)
})

t.test('a piece larger than a turn goes alone, and the next ones make up for it', async (t) => {
  const turns = new BackgroundTurns()
  await turns.next(1_000)
  let begun = false
  const small = turns.next(1).then(() => (begun = true))
  for (let turn = 0; turn < 2; turn++) {
    await nextTurn()
    t.notOk(begun, `turn ${turn}`)
  }
  await small
  t.ok(begun)
})
