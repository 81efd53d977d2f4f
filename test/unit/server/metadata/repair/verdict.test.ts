/**
 * Laws of repair: what is given up, and from where to where a chunk is copied.
 */
import * as fc from 'fast-check'
import t from 'tap'
import {
  chooseCopy,
  judge,
  type Replica,
  type Target,
} from '../../../../../server/metadata/repair/verdict.ts'

const RUNS = { numRuns: 500 }
const rack = fc.constantFrom('a', 'b', 'c')
const replicas = fc
  .array(
    fc.record({
      rack,
      alive: fc.boolean(),
      lost: fc.boolean(),
      gone: fc.boolean(),
      leaving: fc.boolean(),
      inventoried: fc.boolean(),
      damaged: fc.boolean(),
      freeBytes: fc.nat(),
    }),
    { maxLength: 10 },
  )
  .map((all) =>
    all.map((one, i): Replica => ({
      ...one,
      server: i + 1,
      // A server that is lost or gone is not alive.
      alive: one.alive && !one.lost && !one.gone,
    })),
  )
const wanted = fc.integer({ min: 1, max: 4 })
const good = ({ damaged, lost, gone }: Replica): boolean => !damaged && !lost && !gone
const staying = (one: Replica): boolean => good(one) && !one.leaving

function replica(server: number, more: Partial<Replica> = {}): Replica {
  const well = { alive: true, lost: false, gone: false, leaving: false, inventoried: true }
  return { server, rack: 'a', damaged: false, freeBytes: 1, ...well, ...more }
}

t.test('nothing is given up while a chunk lacks replicas', async () => {
  fc.assert(
    fc.property(replicas, wanted, (all, count) => {
      const { wanting, surplus } = judge(all, count)
      return wanting === all.filter(staying).length < count && (!wanting || surplus.length === 0)
    }),
    RUNS,
  )
})

t.test('what is given up leaves as many replicas as are wanted, one of them at hand', async () => {
  fc.assert(
    fc.property(replicas, wanted, (all, count) => {
      const { surplus } = judge(all, count)
      if (surplus.length === 0) return true
      const left = all.filter(({ server }) => !surplus.includes(server))
      const gaveGood = all.some((one) => surplus.includes(one.server) && good(one))
      const leftGood = left.filter(staying)
      return (
        leftGood.length >= count &&
        (!gaveGood || leftGood.filter(({ alive }) => alive).length >= count) &&
        (leftGood.some(({ alive }) => alive) ||
          all.every((one) => !surplus.includes(one.server) || one.gone))
      )
    }),
    RUNS,
  )
})

t.test('a good replica is superfluous only beside others that were seen to be there', async () => {
  fc.assert(
    fc.property(replicas, wanted, (all, count) => {
      const { surplus } = judge(all, count)
      const given = all.filter((one) => surplus.includes(one.server) && staying(one))
      if (given.length === 0) return true
      const sure = all.filter((one) => staying(one) && one.alive && one.inventoried)
      return given.every((one) => sure.includes(one)) && sure.length - given.length >= count
    }),
    RUNS,
  )
})

t.test('two racks stay two', async () => {
  fc.assert(
    fc.property(replicas, fc.integer({ min: 2, max: 4 }), (all, count) => {
      const sure = all.filter((one) => staying(one) && one.alive && one.inventoried)
      const { surplus } = judge(all, count)
      const racks = (some: Replica[]): number => new Set(some.map((one) => one.rack)).size
      const left = sure.filter(({ server }) => !surplus.includes(server))
      return racks(sure) < 2 || racks(left) >= 2
    }),
    RUNS,
  )
})

t.test('a lost server leaves its chunk wanting, one that is silent does not', async (t) => {
  t.match(judge([replica(1), replica(2, { alive: false })], 2), { living: 2, wanting: false })
  t.match(judge([replica(1), replica(2, { alive: false, lost: true })], 2), {
    living: 1,
    wanting: true,
    surplus: [],
  })
  t.match(judge([replica(1, { damaged: true })], 2), { living: 0, wanting: true, surplus: [] })
})

t.test('the copy on the fuller server goes when a lost one comes back', async (t) => {
  const back = [
    replica(1, { freeBytes: 9 }),
    replica(2, { freeBytes: 3 }),
    replica(3, { rack: 'b' }),
  ]
  t.same(judge(back, 2).surplus, [2])
})

t.test('places on lost servers are remembered, but not without end', async (t) => {
  const lost = Array.from({ length: 9 }, (_, i) => replica(10 + i, { alive: false, lost: true }))
  const { surplus } = judge([replica(1), replica(2, { rack: 'b' }), ...lost], 2)
  t.same(surplus, [10, 11, 12])
})

t.test('a damaged copy is kept until enough good ones are there', async (t) => {
  const bad = replica(3, { damaged: true })
  t.same(judge([replica(1), bad], 2).surplus, [])
  t.same(judge([replica(1), bad, replica(4)], 2).surplus, [3])
})

const targets = fc
  .array(fc.record({ rack, freeBytes: fc.nat(), load: fc.nat(100), busy: fc.boolean() }), {
    maxLength: 12,
  })
  .map((all) => all.map((target, i): Target => ({ ...target, id: i + 1 })))
const avoided = fc.array(fc.integer({ min: 1, max: 12 })).map((ids) => new Set(ids))
const chance = fc.double({ min: 0, max: 0.999_999, noNaN: true })
const streams = fc.array(fc.nat(5), { minLength: 12, maxLength: 12 })

t.test('copies come from good replicas at hand and go where none is', async (t) => {
  let chosen = 0
  fc.assert(
    fc.property(replicas, targets, avoided, chance, streams, (all, able, avoid, at, taken) => {
      const given = (server: number): number => taken[server - 1] ?? 0
      const question = { replicas: all, targets: able, avoid, given, givenMax: 4 }
      const choice = chooseCopy(question, () => at)
      if (choice === undefined || choice === 'busy') return true
      chosen++
      const source = all.find(({ server }) => server === choice.source)
      const target = able.find(({ id }) => id === choice.target)
      const there = all.find(({ server }) => server === choice.target)
      return (
        source !== undefined &&
        good(source) &&
        source.alive &&
        given(choice.source) < 4 &&
        target?.busy === false &&
        (there === undefined || there.damaged) &&
        !avoid.has(choice.source) &&
        !avoid.has(choice.target) &&
        choice.source !== choice.target
      )
    }),
    { numRuns: 2_000 },
  )
  t.ok(chosen > 30, `${chosen} choices`)
})

t.test(
  'beside a single rack, another one is taken whenever a server there is able to',
  async () => {
    fc.assert(
      fc.property(replicas, targets, chance, (all, able, at) => {
        const question = { replicas: all, targets: able, avoid: new Set<number>() }
        const choice = chooseCopy({ ...question, given: () => 0, givenMax: 4 }, () => at)
        const racks = new Set(all.filter(staying).map((one) => one.rack))
        if (choice === undefined || choice === 'busy' || racks.size !== 1) return true
        const free = able.filter(({ id }) => {
          const there = all.find(({ server }) => server === id)
          return there === undefined || there.damaged
        })
        const elsewhere = free.some((target) => !racks.has(target.rack))
        const target = able.find(({ id }) => id === choice.target)
        return !elsewhere || (target !== undefined && !racks.has(target.rack))
      }),
      { numRuns: 2_000 },
    )
  },
)

t.test('a damaged copy is replaced in its place when no other server is there', async (t) => {
  const question = { avoid: new Set<number>(), given: () => 0, givenMax: 4 }
  const all = [replica(1), replica(2, { rack: 'b', damaged: true })]
  const target = (id: number, more: Partial<Target> = {}): Target => {
    return { id, rack: 'b', freeBytes: 1, load: 0, busy: false, ...more }
  }
  const choose = (able: Target[]) =>
    chooseCopy({ ...question, replicas: all, targets: able }, () => 0.5)
  t.same(choose([target(1), target(2)]), { source: 1, target: 2 })
  t.same(choose([target(2), target(3)]), { source: 1, target: 3 }, 'a fresh disk comes first')
  t.same(choose([target(2), target(3, { rack: 'a' })]), { source: 1, target: 2 }, 'racks first')
  t.equal(choose([target(2), target(3, { busy: true })]), 'busy', 'it waits for the better one')
  t.equal(choose([target(1)]), undefined)
})
