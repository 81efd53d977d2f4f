/**
 * Laws of placement.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { place, type Candidate } from '../../../../server/metadata/placement.ts'

const candidates = fc
  .array(
    fc.record({
      rack: fc.constantFrom('a', 'b', 'c'),
      freeBytes: fc.nat(),
      load: fc.nat(1_000),
    }),
    { maxLength: 12 },
  )
  .map((servers) => servers.map((server, i): Candidate => ({ id: i + 1, ...server })))
const excluded = fc.array(fc.integer({ min: 1, max: 12 })).map((ids) => new Set(ids))
const seed = fc.array(fc.double({ min: 0, max: 0.999_999, noNaN: true }), { minLength: 8 })

/** Chance that repeats the given numbers. */
function random(numbers: readonly number[]): () => number {
  let i = 0
  return () => numbers[i++ % numbers.length] ?? 0
}

t.test('servers are distinct, eligible, and as many as asked for or there are', async (t) => {
  fc.assert(
    fc.property(
      candidates,
      fc.integer({ min: 1, max: 8 }),
      excluded,
      seed,
      (all, count, out, numbers) => {
        const chosen = place(all, count, out, random(numbers))
        const eligible = all.filter(({ id }) => !out.has(id)).map(({ id }) => id)
        t.ok(new Set(chosen).size === chosen.length)
        t.ok(chosen.every((id) => eligible.includes(id)))
        t.equal(chosen.length, Math.min(count, eligible.length))
      },
    ),
    { numRuns: 200 },
  )
})

t.test('two replicas are in two racks when there are two', async (t) => {
  fc.assert(
    fc.property(
      candidates,
      fc.integer({ min: 2, max: 8 }),
      excluded,
      seed,
      (all, count, out, numbers) => {
        const eligible = all.filter(({ id }) => !out.has(id))
        fc.pre(new Set(eligible.map(({ rack }) => rack)).size >= 2)
        const chosen = place(all, count, out, random(numbers))
        const racks = new Set(chosen.map((id) => all[id - 1]?.rack))
        t.ok(racks.size >= 2)
      },
    ),
    { numRuns: 200 },
  )
})

t.test('free space and idleness draw chunks in proportion', async (t) => {
  const server = (id: number, freeBytes: number, load = 0): Candidate => ({
    id,
    rack: 'a',
    freeBytes,
    load,
  })
  const share = (all: Candidate[]): number => {
    let first = 0
    for (let i = 0; i < 2_000; i++) {
      if (place(all, 1, new Set(), random([(i + 0.5) / 2_000]))[0] === 1) first++
    }
    return first / 2_000
  }
  const near = (actual: number, expected: number): boolean => Math.abs(actual - expected) < 0.01
  t.ok(near(share([server(1, 3e9), server(2, 1e9)]), 0.75))
  t.ok(near(share([server(1, 1e9, 32), server(2, 1e9)]), 1 / 3))
  t.ok(near(share([server(1, 0), server(2, 1e9)]), 0), 'a full one is hardly ever chosen')
  t.equal(share([server(1, 0)]), 1, 'unless it is alone')
})
