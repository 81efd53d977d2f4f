/**
 * A stock of chunk plans, so that a file's first byte does not wait for the metadata server.
 *
 * It is refilled before it is empty, and larger the faster plans are taken. Plans are kept for a
 * short time only: where to put a chunk is decided by what is free and alive at that moment.
 */
import type { ChunkPlan } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { MetadataSession } from './api.ts'
import type { ServerHealth } from './server-health.ts'

/** Plans kept at least and at most. */
const STOCK_MIN = 2
const STOCK_MAX = 32
/** Milliseconds after which an unused plan is thrown away. */
const AGE_MAX_MS = 30_000

interface Kept {
  readonly plan: ChunkPlan
  readonly gotMs: number
}

const NO_TICKET = new Uint8Array(0)

export class PlanStock {
  readonly #session: Pick<MetadataSession, 'read'>
  readonly #health: ServerHealth
  readonly #kept: Kept[] = []
  #target = STOCK_MIN
  #refilling: Promise<void> | undefined

  constructor(session: Pick<MetadataSession, 'read'>, health: ServerHealth) {
    this.#session = session
    this.#health = health
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
      await this.#refill()
    }
  }

  /**
   * Another chain for a chunk under way, without the servers that failed it. Throws `planExpired` when
   * it has been under way for too long.
   */
  async again(plan: ChunkPlan, exclude: readonly number[]): Promise<ChunkPlan> {
    const { chunk, ticket } = plan
    const [again] = await this.#request({ count: 1, exclude: [...exclude], chunk, ticket })
    if (again === undefined || again.chunk !== chunk) {
      throw new DfsError('internal', `chunk ${chunk}: the metadata server planned another one`)
    }
    return again
  }

  #takeKept(): ChunkPlan | undefined {
    const oldestMs = Date.now() - AGE_MAX_MS
    for (;;) {
      const kept = this.#kept.shift()
      if (kept === undefined) return undefined
      if (kept.gotMs < oldestMs) {
        this.#target = Math.max(STOCK_MIN, Math.floor(this.#target / 2))
      } else if (!kept.plan.servers.some((server) => this.#health.isFailing(server.id))) {
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
    const count = Math.max(1, this.#target - this.#kept.length)
    const plans = await this.#plansAvoiding(this.#health.failing(), count)
    if (plans.length === 0) throw new DfsError('internal', 'the metadata server gave no chunk plan')
    const gotMs = Date.now()
    for (const plan of plans) this.#kept.push({ plan, gotMs })
  }

  /** Without servers that just failed us, unless then there are too few. */
  async #plansAvoiding(exclude: readonly number[], count: number): Promise<ChunkPlan[]> {
    const request = { count, exclude: [...exclude], chunk: 0, ticket: NO_TICKET }
    if (exclude.length === 0) return this.#request(request)
    try {
      return await this.#request(request)
    } catch (error) {
      const scarce =
        error instanceof DfsError && (error.code === 'tooFewServers' || error.code === 'noSpace')
      if (!scarce) throw error
      this.#health.forgive()
      return this.#request({ ...request, exclude: [] })
    }
  }

  async #request(request: {
    count: number
    exclude: number[]
    chunk: number
    ticket: Uint8Array
  }): Promise<ChunkPlan[]> {
    const { plans } = await this.#session.read(methods.plan, request)
    for (const { chunk, servers } of plans) {
      if (servers.length === 0) throw new DfsError('internal', `chunk ${chunk}: planned nowhere`)
    }
    return plans
  }
}
