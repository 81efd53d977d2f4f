/**
 * The stock of plans: taken without waiting, refilled ahead, never over a server that just failed
 * while there are others, and never a plan that is too old or for another chunk.
 */
import t from 'tap'
import type { ChunkPlan, PlanRequest } from '../../../../schema/generated/metadata.ts'
import type { Method } from '../../../../schema/rpc/api.ts'
import { DfsError } from '../../../../schema/wire/status.ts'
import { PlanStock } from '../../../../mount/client/plans.ts'
import { ServerHealth } from '../../../../mount/client/server-health.ts'
import { until } from '../../../support/transport.ts'

class Planner {
  readonly requests: PlanRequest[] = []
  /** Servers that exist; a plan needs one. */
  servers = [1, 2, 3]
  error: DfsError | undefined
  change: (plan: ChunkPlan) => ChunkPlan = (plan) => plan
  #next = 1

  async read<Q, R>(_method: Method<Q, R>, request: Q): Promise<R> {
    const { count, exclude, chunk } = request as PlanRequest
    this.requests.push(request as PlanRequest)
    if (this.error !== undefined) throw this.error
    const usable = this.servers.filter((id) => !exclude.includes(id))
    if (usable.length === 0) throw new DfsError('tooFewServers', 'none left')
    const servers = usable.map((id) => ({ id, rack: 'r', addresses: ['h:1'] }))
    const plans = Array.from({ length: count }, () =>
      this.change({
        chunk: chunk === 0 ? this.#next++ : chunk,
        ticket: Buffer.of(1),
        expires: 0n,
        servers,
      }),
    )
    return { plans } as R
  }
}

function stock(): { planner: Planner; health: ServerHealth; plans: PlanStock } {
  const planner = new Planner()
  const health = new ServerHealth()
  const plans = new PlanStock({ session: planner, health, signal: new AbortController().signal })
  return { planner, health, plans }
}

function fail(health: ServerHealth, server: number): void {
  health.began(server)
  health.failed(server)
}

t.test(
  'every plan is for another chunk, and the stock is refilled before it is empty',
  async (t) => {
    const { planner, plans } = stock()
    const chunks = new Set<number>()
    for (let i = 0; i < 100; i++) {
      const before = planner.requests.length
      chunks.add((await plans.take()).chunk)
      if (i > 0) t.ok(planner.requests.length - before <= 1)
      await new Promise((resolve) => setImmediate(resolve))
    }
    t.equal(chunks.size, 100)
    t.ok(planner.requests.length < 60, `${planner.requests.length} requests for 100 plans`)
  },
)

t.test('many takers at once share a refill, and the stock grows with the demand', async (t) => {
  const { planner, plans } = stock()
  const taken = await Promise.all(Array.from({ length: 64 }, async () => plans.take()))
  t.equal(new Set(taken.map(({ chunk }) => chunk)).size, 64)
  t.ok(planner.requests.length < 20, `${planner.requests.length} requests`)
  t.ok(
    planner.requests.every(({ count }) => count <= 32),
    'bounded',
  )
})

t.test(
  'a plan over a server that failed since is thrown away, and new ones leave it out',
  async (t) => {
    const { planner, health, plans } = stock()
    await plans.take()
    fail(health, 2)
    planner.change = (plan) => plan
    const next = await plans.take()
    t.notOk(next.servers.some(({ id }) => id === 2))
    t.same(planner.requests.at(-1)?.exclude, [2])
  },
)

t.test('a planner that has no others may name a server that failed', async (t) => {
  const { planner, health, plans } = stock()
  fail(health, 2)
  planner.change = (plan) => ({ ...plan, servers: [{ id: 2, rack: 'r', addresses: ['h:1'] }] })
  t.same(
    (await plans.take()).servers.map(({ id }) => id),
    [2],
  )
  t.equal(planner.requests.length, 1, 'asked once')
})

t.test('when all servers failed, they get another chance', async (t) => {
  const { planner, health, plans } = stock()
  for (const server of planner.servers) fail(health, server)
  const plan = await plans.take()
  t.equal(plan.servers.length, 3)
  t.same(
    planner.requests.map(({ exclude }) => exclude.length),
    [3, 0],
  )
})

t.test('servers that are only starting are waited for', async (t) => {
  const { planner, plans } = stock()
  planner.servers = []
  const taking = plans.take()
  t.ok(await until(() => planner.requests.length > 2))
  planner.servers = [1]
  t.equal((await taking).servers.length, 1)
})

t.test('an error reaches everybody who waits, and the next one tries anew', async (t) => {
  const { planner, plans } = stock()
  planner.error = new DfsError('quotaExceeded', 'full')
  const takers = [plans.take(), plans.take()]
  for (const taker of takers) await t.rejects(taker, { code: 'quotaExceeded' })
  planner.error = undefined
  t.ok(await plans.take())
})

t.test('planning again keeps the chunk and leaves out who failed', async (t) => {
  const { planner, plans } = stock()
  const plan = await plans.take()
  const again = await plans.again(plan, [1, 3])
  t.equal(again.chunk, plan.chunk)
  t.same(
    again.servers.map(({ id }) => id),
    [2],
  )
  t.match(planner.requests.at(-1), { chunk: plan.chunk, ticket: plan.ticket, exclude: [1, 3] })
  planner.change = (other) => ({ ...other, chunk: 999 })
  await t.rejects(plans.again(plan, []), { code: 'internal' }, 'a plan for another chunk')
  planner.change = (other) => ({ ...other, servers: [] })
  await t.rejects(plans.again(plan, []), { code: 'internal' }, 'a plan without servers')
})
