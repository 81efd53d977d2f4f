/**
 * Sorting of more facts than one run holds.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import t from 'tap'
import { SortedFacts } from '../../../../../server/metadata/check/sorted-facts.ts'

const number = fc.oneof(fc.nat(5), fc.maxSafeNat())
const facts = fc.array(fc.tuple(number, number, number), { maxLength: 300 })

function sortedBy(
  t: { testdir(): string },
  all: readonly number[][],
  runBytes: number,
): number[][] {
  const sorting = new SortedFacts(join(t.testdir(), 'facts'), 3, runBytes)
  for (const fact of all) sorting.add(...fact)
  const reader = sorting.sorted()
  const found: number[][] = []
  for (; reader.id !== Infinity; reader.advance()) {
    found.push([reader.field(0), reader.field(1), reader.field(2)])
  }
  sorting.close()
  return found
}

const inOrder = (all: readonly number[][]): number[][] =>
  [...all].sort((a, b) => a.map((n, i) => n - (b[i] ?? 0)).find((n) => n !== 0) ?? 0)

t.test('facts come back in order, none lost, whatever fits into memory', async (t) => {
  fc.assert(
    fc.property(facts, fc.constantFrom(24, 72, 240, 100_000), (all, runBytes) => {
      t.same(sortedBy(t, all, runBytes), inOrder(all))
    }),
    { numRuns: 50 },
  )
})

t.test('what fits into one run needs no file; what does not is read in blocks', async (t) => {
  const dir = t.testdir()
  const small = new SortedFacts(join(dir, 'small'), 2)
  small.add(2, 1)
  small.add(1, 1)
  t.equal(small.sorted().id, 1)
  small.close()
  t.same(readdirSync(dir), [])
  const count = 60_000
  const large = new SortedFacts(join(dir, 'large'), 2, 400_000)
  for (let i = 0; i < count; i++) large.add((i * 7_919) % count, i)
  const reader = large.sorted()
  for (let i = 0; i < count; i++, reader.advance()) if (reader.id !== i) t.fail(`${i}`)
  t.equal(reader.id, Infinity)
  t.same(readdirSync(dir), ['large'])
  large.close()
})
