/**
 * plan: ids, servers and write tickets for chunks that a client is going to write.
 *
 * Costs the store nothing: the ticket is the plan. With `chunk`, other servers for a chunk that could
 * not be written everywhere: same id, same ticket, same expiry — a longer life would make the chunk
 * look dead to plan-ages.ts while it can still be committed.
 */
import type { ChunkPlan, PlanRequest, PlanResponse } from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { Rights } from '../../ticket.ts'
import { refuse } from '../input.ts'
import type { Caller, Services } from '../services.ts'
import { TICKET_LIFE_MS } from '../ticket-keys.ts'
import { verifyPlan } from './chunk-changes.ts'
import type { Query } from './operation.ts'

/** Servers that a client may shut out. */
const EXCLUDED_MAX = 1_024
const NS_PER_MS = 1_000_000n
/** Plans that are as much work as a small read. */
const PLANS_PER_COST = 2

export const plan: Query<PlanRequest, PlanResponse> = {
  method: methods.plan,
  check({ count, exclude, chunk }) {
    if (exclude.length > EXCLUDED_MAX) refuse(`${exclude.length} servers excluded`)
    if (chunk === 0 && (count === 0 || count > limits.chunksPerRequestMax)) {
      refuse(`${count} plans; 1 to ${limits.chunksPerRequestMax} at once`)
    }
  },

  cost: ({ count }) => Math.ceil(count / PLANS_PER_COST),

  async run(_txn, request, caller, services) {
    const { chunk, ticket, count } = request
    const exclude = new Set(request.exclude)
    if (chunk !== 0) {
      const expiresMs = verifyPlan(ticket, chunk, caller, services)
      return { plans: [chunkPlan(chunk, { ticket, expiresMs, exclude }, services)] }
    }
    const plans: ChunkPlan[] = []
    while (plans.length < count) plans.push(await newPlan(exclude, caller, services))
    return { plans }
  },
}

async function newPlan(
  exclude: ReadonlySet<number>,
  { user }: Caller,
  services: Services,
): Promise<ChunkPlan> {
  const { chunkIds, clock, planAges, ticketKeys } = services
  let chunk = chunkIds.tryTake()
  while (chunk === undefined) {
    await chunkIds.reserve()
    chunk = chunkIds.tryTake()
  }
  // Nothing waits between the id and its ticket, so marks and tickets come in the order of ids.
  const nowMs = clock.nowMs()
  planAges.observe(nowMs, chunk)
  const expiresMs = nowMs + TICKET_LIFE_MS
  const ticket = ticketKeys.issue(user, chunk, Rights.write, expiresMs)
  return chunkPlan(chunk, { ticket, expiresMs, exclude }, services)
}

interface PlanTerms {
  readonly ticket: Uint8Array
  readonly expiresMs: number
  readonly exclude: ReadonlySet<number>
}

function chunkPlan(
  chunk: number,
  { ticket, expiresMs, exclude }: PlanTerms,
  { topology, policy }: Services,
): ChunkPlan {
  const servers = topology.place({
    replicas: policy.replicas,
    replicasMin: policy.writeQuorum,
    exclude,
  })
  return { chunk, ticket, expires: BigInt(expiresMs) * NS_PER_MS, servers }
}
