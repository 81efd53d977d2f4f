/**
 * What depends on time, with a clock that is set: dead plans, ticket keys, slowed logins.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { Clock } from '../../../../server/metadata/clock.ts'
import { LoginLimits } from '../../../../server/metadata/login-limits.ts'
import { PlanAges } from '../../../../server/metadata/plan-ages.ts'
import { Database } from '../../../../server/metadata/store/database.ts'
import { TICKET_LIFE_MS, TicketKeys } from '../../../../server/metadata/ticket-keys.ts'
import { openRocksStore } from '../../../../server/store/rocks-store.ts'
import { Rights } from '../../../../server/ticket.ts'

const HOUR_MS = 3_600_000

t.test('the clock never goes back', async (t) => {
  let now = 100
  const clock = new Clock(() => now)
  t.equal(clock.nowMs(), 100)
  now = 50
  t.equal(clock.nowMs(), 100)
  now = 150
  t.equal(clock.nowNs(), 150_000_000n)
})

t.test(
  'a chunk id is dead only when its ticket has expired, whatever happens in between',
  async (t) => {
    const steps = fc.array(fc.record({ waitMs: fc.nat(HOUR_MS / 4), ids: fc.nat(5) }), {
      maxLength: 100,
    })
    fc.assert(
      fc.property(steps, (all) => {
        const ages = new PlanAges()
        const expires: number[] = [0]
        let nowMs = 1_000_000
        for (const { waitMs, ids } of all) {
          nowMs += waitMs
          ages.observe(nowMs, expires.length)
          for (let i = 0; i < ids; i++) {
            ages.observe(nowMs, expires.length)
            expires.push(nowMs + TICKET_LIFE_MS)
          }
          for (const [id, end] of expires.entries()) {
            if (id > 0 && ages.dead(id)) t.ok(nowMs > end, `id ${id} is dead before its end`)
          }
        }
      }),
    )
    const ages = new PlanAges()
    ages.observe(0, 10)
    ages.observe(TICKET_LIFE_MS + 1, 20)
    t.ok(ages.dead(9))
    t.notOk(ages.dead(10))
  },
)

t.test(
  'ticket keys rotate, are known before they are used, and outlive their tickets',
  async (t) => {
    let now = 1_000_000_000
    const clock = new Clock(() => now)
    const store = await openRocksStore(t.testdir())
    t.teardown(() => store.close())
    const options = {
      cacheBytes: 1_000_000,
      onFailure(error: unknown) {
        throw error
      },
    }
    const database = await Database.open(store, options)
    const keys = await TicketKeys.open(database, clock)
    const known = (): number[] => keys.forChunkservers().map(({ id }) => id)
    t.same(known(), [1])
    const issue = (): Uint8Array => keys.issue(7, 42, Rights.read, now + TICKET_LIFE_MS)
    now += 12 * HOUR_MS + 1
    await keys.rotate()
    t.same(known(), [1, 2], 'handed out at once')
    const early = issue()
    t.equal(keys.verify(early, 42, Rights.read).keyId, 1, 'and used later')
    now += 61_000
    t.equal(keys.verify(issue(), 42, Rights.read).keyId, 2)
    now += TICKET_LIFE_MS - 61_000
    await keys.rotate()
    t.equal(keys.verify(early, 42, Rights.read).user, 7, 'an old ticket is good to its end')
    now += 2
    t.throws(() => keys.verify(early, 42, Rights.read), { code: 'ticketExpired' })
    const before = issue()
    const again = await TicketKeys.open(database, clock)
    t.equal(again.verify(before, 42, Rights.read).user, 7, 'a restart keeps the keys')
    now += 24 * HOUR_MS
    await keys.rotate()
    now += 24 * HOUR_MS
    await keys.rotate()
    t.notOk(known().includes(1), 'a key goes when no ticket of it can live')
    await keys.replace()
    const fresh = known().at(-1)
    now += 61_000 + TICKET_LIFE_MS
    await keys.rotate()
    t.same(known(), [fresh], 'those that were replaced go within the life of a ticket')
  },
)

t.test('guesses are slowed by account and by address, and the owner gets in', async (t) => {
  let now = 0
  const limits = new LoginLimits(new Clock(() => now))
  limits.attempt('192.0.2.9:1', 'ann')
  limits.succeeded('192.0.2.9:1', 'ann')
  let allowed = 0
  for (let i = 0; i < 1_000; i++) {
    try {
      limits.attempt(`203.0.113.${i % 200}:1`, 'ann')
      allowed++
    } catch {
      // Counted by what was allowed.
    }
  }
  t.ok(allowed <= 10, `${allowed} guesses from 200 addresses at once`)
  t.doesNotThrow(() => limits.attempt('192.0.2.9:2', 'ann'), 'from where the owner was before')
  t.doesNotThrow(() => limits.attempt('203.0.113.1:1', 'bob'), 'other accounts')
  for (let i = 0; i < 100; i++) {
    try {
      limits.attempt('198.51.100.1:1', `user${i}`)
    } catch {
      allowed = i
      break
    }
  }
  t.equal(allowed, 20, 'accounts that one address tries at once')
  t.throws(() => limits.attemptFrom('198.51.100.1:9'), { code: 'tooManyLogins' })
  now += 60_000
  t.doesNotThrow(() => limits.attempt('198.51.100.1:1', 'ann'), 'after a while')
})
