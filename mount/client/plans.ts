/**
 * A stock of chunk plans, so that a file's first byte does not wait for the metadata server.
 *
 * It is refilled before it is empty, and larger the faster plans are taken. Plans are kept for a
 * short time only: where to put a chunk is decided by what is free and alive at that moment.
 */
import { performance } from 'node:perf_hooks'
import type { ChunkPlan, PlanRequest } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { MetadataSession } from './api.ts'
import { retried } from './retry.ts'
import type { ServerHealth } from './server-health.ts'

/** Plans kept at least and at most. */
const STOCK_MIN = 2
const STOCK_MAX = 32
/** Milliseconds after which an unused plan is thrown away. */
const AGE_MAX_MS = 30_000
/** Milliseconds for which too few servers may pass: some may be starting. */
const SCARCE_MS = 10_000
/** Servers that one request shuts out. */
const EXCLUDED_MAX = 256

interface Kept {
  readonly plan: ChunkPlan
  readonly gotMs: number
}

type Wanted = Omit<PlanRequest, 'exclude'>

const NO_TICKET = new Uint8Array(0)

export class PlanStock {
  readonly #session: Pick<MetadataSession, 'read'>
  readonly #health: ServerHealth
  readonly #signal: AbortSignal
  readonly #kept: Kept[] = []
  #target = STOCK_MIN
  /** Takers who found nothing. */
  #waiting = 0
  #refilling: Promise<void> | undefined

  constructor(options: {
    session: Pick<MetadataSession, 'read'>
    health: ServerHealth
    signal: AbortSignal
  }) {
    this.#session = options.session
    this.#health = options.health
    this.#signal = options.signal
  }

  /** A plan for a new chunk. Throws what the metadata server says: `noSpace`, `tooFewServers`, … */
  async take(): Promise<ChunkPlan> {
    for (;;) {
      const plan = this.#takeKept()
      if (plan !== undefined) {
        if (this.#kept.length < this.#target / 2) this.#refillAhead()
        return plan
      }
      // Somebody was faster than the last refill: keep more.
      if (this.#refilling === undefined) this.#target = Math.min(STOCK_MAX, this.#target * 2)
      this.#waiting++
      try {
        await this.#refill()
      } finally {
        this.#waiting--
      }
    }
  }

  /**
   * Another chain for a chunk under way, without the servers that failed it, unless then there are
   * too few: one of them may be back. Throws `planExpired` when it has been under way for too long.
   */
  async again(plan: ChunkPlan, exclude: readonly number[]): Promise<ChunkPlan> {
    const { chunk, ticket } = plan
    const [again] = await this.#plansAvoiding(exclude, { count: 1, chunk, ticket })
    if (again === undefined || again.chunk !== chunk) {
      throw new DfsError('internal', `chunk ${chunk}: the metadata server planned another one`)
    }
    return again
  }

  #takeKept(): ChunkPlan | undefined {
    const oldestMs = performance.now() - AGE_MAX_MS
    for (;;) {
      const kept = this.#kept.shift()
      if (kept === undefined) return undefined
      if (kept.gotMs < oldestMs) {
        this.#target = Math.max(STOCK_MIN, Math.floor(this.#target / 2))
      } else if (!kept.plan.servers.some(({ id }) => this.#health.failedSince(id, kept.gotMs))) {
        // A plan made after the failure is taken as it is: the planner had no better one.
        return kept.plan
      }
    }
  }

  /** In the background; whoever finds the stock empty meets the error again. */
  #refillAhead(): void {
    this.#refill().catch(() => undefined)
  }

  async #refill(): Promise<void> {
    this.#refilling ??= this.#fetch().finally(() => {
      this.#refilling = undefined
    })
    return this.#refilling
  }

  async #fetch(): Promise<void> {
    const missing = this.#target + this.#waiting - this.#kept.length
    const count = Math.min(STOCK_MAX, Math.max(1, missing))
    const wanted = { count, chunk: 0, ticket: NO_TICKET }
    const plans = await this.#plansAvoiding(this.#health.failing(), wanted)
    if (plans.length === 0) throw new DfsError('internal', 'the metadata server gave no chunk plan')
    const gotMs = performance.now()
    for (const plan of plans) this.#kept.push({ plan, gotMs })
  }

  async #plansAvoiding(servers: readonly number[], wanted: Wanted): Promise<ChunkPlan[]> {
    if (servers.length > 0) {
      try {
        return await this.#request({ ...wanted, exclude: servers.slice(0, EXCLUDED_MAX) })
      } catch (error) {
        if (!isScarce(error)) throw error
        this.#health.forgive()
      }
    }
    const options = {
      what: 'planning a chunk',
      deadlineMs: SCARCE_MS,
      passing: (error: DfsError) => error.code === 'tooFewServers',
      signal: this.#signal,
    }
    return retried(options, async () => this.#request({ ...wanted, exclude: [] }))
  }

  async #request(request: PlanRequest): Promise<ChunkPlan[]> {
    const { plans } = await this.#session.read(methods.plan, request)
    for (const { chunk, servers } of plans) {
      if (servers.length === 0) throw new DfsError('internal', `chunk ${chunk}: planned nowhere`)
    }
    return plans
  }
}

/** Whether it is for want of servers that there is no plan. */
function isScarce(error: unknown): boolean {
  return error instanceof DfsError && (error.code === 'tooFewServers' || error.code === 'noSpace')
}
