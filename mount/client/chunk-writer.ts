/**
 * Writes one chunk: seals what is appended, sends it while more comes, and does not let go of the
 * sealed bytes before enough servers have them durable.
 *
 * When a server fails, or too few acknowledge, the same chunk is planned again without those that
 * failed and sent again from memory; servers that have it count. Attempts are bounded by number and
 * by time.
 */
import { performance } from 'node:perf_hooks'
import type { ServerAddress } from '../../schema/generated/common.ts'
import type { ChunkPlan, NewChunk } from '../../schema/generated/metadata.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { DfsError, statusFromWire } from '../../schema/wire/status.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { BeginOptions, ChunkWriter } from './api.ts'
import { ChunkUpload, type UploadResult } from './chunk-upload.ts'
import type { ChunkserverPool } from './chunkserver-pool.ts'
import type { PlanStock } from './plans.ts'
import { pauseFor, pauseMs } from './retry.ts'
import { SealedChunk } from './sealed-chunk.ts'
import type { ServerHealth } from './server-health.ts'
import type { BudgetHolder, WriteBudget } from './write-budget.ts'

/** Failed attempts to store a chunk, and milliseconds of failing, after which it is given up. */
const FAILURES_MAX = 120
const FAILING_MS_MAX = 60_000
/**
 * Milliseconds after which an unfinished chunk should be finished: half of what a plan lives. Not
 * reckoned from the plan's expiry, which is by the server's clock.
 */
const WRITING_MS_MAX = 30 * 60_000

export interface WriterParts {
  readonly plans: PlanStock
  readonly pool: ChunkserverPool
  readonly health: ServerHealth
  readonly budget: WriteBudget
  /** Replicas that must be durable. */
  readonly writeQuorum: () => number
  readonly log: Log
  /** Called when the writer is done, however it ended. */
  readonly onDone: (writer: Writer) => void
}

export class Writer implements ChunkWriter, BudgetHolder {
  readonly chunk: number
  appendedMs = performance.now()
  readonly #beganMs = performance.now()
  readonly #parts: WriterParts
  readonly #sealed: SealedChunk
  readonly #abort = new AbortController()
  readonly #onPressure: (() => void) | undefined
  #pressed = false
  #finishing = false
  #plan: ChunkPlan
  #upload: ChunkUpload | undefined
  #storing: Promise<NewChunk> | undefined
  #error: Error | undefined
  #done = false
  /** The application pauses: nothing is sent before the chunk is finished. */
  #resting = false
  #endRest: (() => void) | undefined
  readonly #acknowledged = new Set<number>()
  readonly #excluded = new Set<number>()

  constructor(parts: WriterParts, plan: ChunkPlan, key: InodeKey, options: BeginOptions) {
    this.chunk = plan.chunk
    this.#parts = parts
    this.#plan = plan
    this.#sealed = new SealedChunk(key, plan.chunk)
    this.#onPressure = options.onPressure
    parts.budget.enter(this)
  }

  get length(): number {
    return this.#sealed.length
  }

  get heldBytes(): number {
    return this.#sealed.heldBytes
  }

  get finishing(): boolean {
    return this.#finishing
  }

  append(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#error !== undefined) throw this.#error
    invariant(!this.#finishing, 'nothing is appended to a finished chunk')
    this.appendedMs = performance.now()
    this.#grow(() => this.#sealed.append(bytes))
    if (this.#storing !== undefined) this.#upload?.wake()
    else if (this.#sealed.sealedBytes > 0) void this.#start()
    return this.#parts.budget.wait(this)
  }

  async finish(): Promise<NewChunk> {
    if (this.#error !== undefined) throw this.#error
    invariant(!this.#finishing, 'a chunk is finished once')
    this.#finishing = true
    this.#grow(() => this.#sealed.end())
    this.#endRest?.()
    this.#upload?.wake()
    return this.#start()
  }

  abort(): void {
    if (this.#done) return
    this.#finishing = true
    const reason = new DfsError('cancelled', `chunk ${this.chunk} was given up`)
    this.#error ??= reason
    this.#abort.abort()
    this.#upload?.cancel(reason)
    this.#endRest?.()
    this.#leave()
  }

  press(): boolean {
    if (this.#onPressure === undefined || this.#pressed || this.#finishing) return false
    this.#pressed = true
    this.#onPressure()
    return true
  }

  /** To be called about every second. */
  tick(nowMs: number): void {
    this.#upload?.tick(nowMs)
    if (!this.#finishing && nowMs - this.#beganMs > WRITING_MS_MAX) this.press()
  }

  #grow(change: () => void): void {
    const before = this.#sealed.heldBytes
    change()
    this.#parts.budget.grew(this.#sealed.heldBytes - before)
  }

  #start(): Promise<NewChunk> {
    if (this.#storing === undefined) {
      this.#storing = this.#storeAndLeave()
      // Whoever appends or finishes meets the error.
      this.#storing.catch(() => undefined)
    }
    return this.#storing
  }

  async #storeAndLeave(): Promise<NewChunk> {
    try {
      return await this.#store()
    } catch (error) {
      this.#error ??= error instanceof Error ? error : new Error(String(error))
      throw error
    } finally {
      this.#leave()
    }
  }

  #leave(): void {
    if (this.#done) return
    this.#done = true
    this.#grow(() => this.#sealed.drop(this.#error === undefined))
    this.#parts.budget.leave(this)
    this.#parts.onDone(this)
  }

  async #store(): Promise<NewChunk> {
    const { log } = this.#parts
    let failures = 0
    let failingSinceMs = performance.now()
    for (;;) {
      if (this.#resting) await this.#rest()
      if (this.#error !== undefined) throw this.#error
      const error = await this.#attempt()
      if (this.#acknowledged.size >= this.#parts.writeQuorum()) return this.#stored()
      if (this.#upload?.suspended === true) {
        this.#resting = !this.#sealed.ended
        continue
      }
      if (failures === 0) failingSinceMs = performance.now()
      failures++
      log.warn({ err: error, chunk: this.chunk, failures }, 'a chunk is not stored yet')
      const failingMs = performance.now() - failingSinceMs
      const over = failures >= FAILURES_MAX || failingMs > FAILING_MS_MAX
      if (over || !(error instanceof DfsError)) throw this.#givenUp(error, failures)
      await pauseFor(pauseMs(failures - 1), this.#abort.signal, `chunk ${this.chunk}`)
      this.#plan = await this.#parts.plans.again(this.#plan, [...this.#excluded])
      for (const { id } of this.#plan.servers) this.#excluded.delete(id)
    }
  }

  #stored(): NewChunk {
    const { chunk, ticket } = this.#plan
    return { chunk, length: this.#sealed.length, servers: [...this.#acknowledged], ticket }
  }

  /** Sends the chunk to those of the plan that do not have it; returns what went wrong. */
  async #attempt(): Promise<unknown> {
    const { pool, health } = this.#parts
    const chain = this.#plan.servers.filter(({ id }) => !this.#acknowledged.has(id))
    if (!isChain(chain)) {
      return new DfsError('tooFewServers', `chunk ${this.chunk}: planned only where it is already`)
    }
    const first = chain[0].id
    const { chunk, ticket } = this.#plan
    const upload = new ChunkUpload({
      chunk,
      ticket,
      sealed: this.#sealed,
      peer: pool.peer(chain[0]),
      suspect: (server) => pool.suspect(server),
      chain,
    })
    this.#upload = upload
    health.began(first)
    try {
      const result = await upload.run()
      health.ended(first)
      return this.#judge(chain, result)
    } catch (error) {
      if (blamesServer(error) && !upload.suspended && !this.#abort.signal.aborted) {
        this.#excluded.add(first)
        if (isBusy(error)) health.ended(first)
        else health.failed(first)
      } else {
        health.ended(first)
      }
      return error
    }
  }

  /** Who of the chain has it, and what to say of the others: they are left out of the next plan. */
  #judge(chain: readonly ServerAddress[], { servers, failed }: UploadResult): DfsError {
    for (const id of servers) this.#acknowledged.add(id)
    const reasons: string[] = []
    for (const { id } of chain) {
      if (this.#acknowledged.has(id)) continue
      const failure = failed.find(({ server }) => server === id)
      const why =
        failure === undefined
          ? 'says nothing of it'
          : `${failure.detail} [${statusFromWire(failure.status)}]`
      reasons.push(`chunkserver ${id}: ${why}`)
      this.#excluded.add(id)
      if (failure !== undefined && statusFromWire(failure.status) === 'tooManyRequests') continue
      this.#parts.health.began(id)
      this.#parts.health.failed(id)
    }
    const detail = `chunk ${this.chunk}: durable on ${this.#acknowledged.size} servers only; ${reasons.join('; ')}`
    return new DfsError('chainBroken', detail)
  }

  async #rest(): Promise<void> {
    if (this.#sealed.ended) return
    await new Promise<void>((resolve) => {
      this.#endRest = resolve
    })
    this.#resting = false
  }

  #givenUp(cause: unknown, failures: number): unknown {
    if (!(cause instanceof DfsError)) return cause
    const detail = `${cause.message} (chunk ${this.chunk} given up after ${failures} failures)`
    return new DfsError(cause.code, detail, { cause })
  }
}

function isChain(servers: ServerAddress[]): servers is [ServerAddress, ...ServerAddress[]] {
  return servers.length > 0
}

/** Refused for the moment, perhaps only this chunk: no reason to keep other chunks away. */
function isBusy(error: unknown): boolean {
  return error instanceof DfsError && error.code === 'tooManyRequests'
}

/** Whether a failed request says something about the server rather than about the request. */
function blamesServer(error: unknown): boolean {
  if (!(error instanceof DfsError)) return false
  switch (error.code) {
    case 'cancelled':
    case 'ticketExpired':
    case 'planExpired':
      return false
    default:
      return true
  }
}
