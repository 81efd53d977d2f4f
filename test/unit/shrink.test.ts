/**
 * The shrinking of failing histories: what it leaves fails, and nothing of it can be left out.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { shrink } from '../support/shrink.ts'

t.test('leaves exactly the steps that matter', async (t) => {
  const steps = Array.from({ length: 1_000 }, (_, n) => n)
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(999), { minLength: 1, maxLength: 6 }), (needed) => {
      const fails = (candidate: readonly number[]): boolean =>
        needed.every((step) => candidate.includes(step))
      t.same(
        shrink(steps, fails, 2_000),
        needed.sort((a, b) => a - b),
      )
    }),
    { numRuns: 50 },
  )
})

t.test('a step that needs another keeps it; alternatives leave one', async (t) => {
  const fails = (candidate: readonly string[]): boolean =>
    candidate.includes('make') && (candidate.includes('break') || candidate.includes('crash'))
  const history = ['a', 'make', 'b', 'break', 'c', 'crash', 'd']
  t.equal(shrink(history, fails, 100).length, 2)
  t.ok(fails(shrink(history, fails, 100)))
})

t.test('stops when its attempts are used up, with something that still fails', async (t) => {
  let calls = 0
  const fails = (candidate: readonly number[]): boolean => {
    calls++
    return candidate.includes(77)
  }
  const short = shrink(
    Array.from({ length: 500 }, (_, n) => n),
    fails,
    5,
  )
  t.equal(calls, 5)
  t.ok(short.includes(77))
  t.ok(short.length < 500)
})
