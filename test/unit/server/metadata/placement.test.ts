/**
 * Laws of placement, by the walk and by the table.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { place, type Candidate } from '../../../../server/metadata/placement.ts'
import { PlacementTable } from '../../../../server/metadata/placement-table.ts'

const candidates = fc
  .array(
    fc.record({
      rack: fc.constantFrom('a', 'b', 'c'),
      freeBytes: fc.nat(),
      load: fc.nat(1_000),
    }),
    { maxLength: 30 },
  )
  .map((servers) => servers.map((server, i): Candidate => ({ id: i + 1, ...server })))
const excluded = fc.array(fc.integer({ min: 1, max: 30 })).map((ids) => new Set(ids))
const seed = fc.array(fc.double({ min: 0, max: 0.999_999, noNaN: true }), { minLength: 8 })

const ways: Record<string, typeof place> = {
  'by the walk': place,
  'by the table': (all, ...rest) => new PlacementTable(all).place(...rest),
}

/** Chance that repeats the given numbers. */
function random(numbers: readonly number[]): () => number {
  let i = 0
  return () => numbers[i++ % numbers.length] ?? 0
}

for (const [way, choose] of Object.entries(ways))
  t.test(
    `servers are distinct, eligible, and as many as asked for or there are, ${way}`,
    async (t) => {
      fc.assert(
        fc.property(
          candidates,
          fc.integer({ min: 1, max: 8 }),
          excluded,
          seed,
          (all, count, out, numbers) => {
            const chosen = choose(all, count, out, random(numbers))
            const eligible = all.filter(({ id }) => !out.has(id)).map(({ id }) => id)
            t.ok(new Set(chosen).size === chosen.length)
            t.ok(chosen.every((id) => eligible.includes(id)))
            t.equal(chosen.length, Math.min(count, eligible.length))
          },
        ),
        { numRuns: 200 },
      )
    },
  )

for (const [way, choose] of Object.entries(ways))
  t.test(`two replicas are in two racks when there are two, ${way}`, async (t) => {
    fc.assert(
      fc.property(
        candidates,
        fc.integer({ min: 2, max: 8 }),
        excluded,
        seed,
        (all, count, out, numbers) => {
          const eligible = all.filter(({ id }) => !out.has(id))
          fc.pre(new Set(eligible.map(({ rack }) => rack)).size >= 2)
          const chosen = choose(all, count, out, random(numbers))
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

t.test('the table draws as the walk does', async (t) => {
  const all = Array.from({ length: 20 }, (_, i) => {
    const [freeBytes, load] = [(i % 4) * 1e9, (i % 3) * 16]
    return { id: i + 1, rack: `rack ${i % 2}`, freeBytes, load }
  })
  const shares = Object.values(ways).map((choose) => {
    const counts = new Map<number, number>()
    let state = 1n
    const next = (): number => {
      state =
        (state * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n) & 0xffff_ffff_ffff_ffffn
      return Number(state >> 32n) / 0x1_0000_0000
    }
    for (let i = 0; i < 20_000; i++) {
      for (const id of choose(all, 3, new Set([4]), next)) counts.set(id, (counts.get(id) ?? 0) + 1)
    }
    return counts
  })
  const [walk, table] = shares
  t.equal(table?.get(4), undefined, 'who is excluded is not drawn')
  for (const { id } of all) {
    const [a, b] = [(walk?.get(id) ?? 0) / 60_000, (table?.get(id) ?? 0) / 60_000]
    t.ok(Math.abs(a - b) < 0.01, `server ${id}: ${a} by the walk, ${b} by the table`)
  }
})
