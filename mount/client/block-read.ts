/**
 * Reading a run of blocks of one chunk from whichever replica has them first and right.
 *
 * The best replica is asked; when it fails, the next one at once; when it is late, the next one as
 * well, and the first whose blocks all verify wins. What one replica gave is never mixed with what
 * another gave. Copies that are damaged or do not verify are reported for repair.
 */
import { performance } from 'node:perf_hooks'
import type { ReadChunkResponse } from '../../schema/generated/chunk.ts'
import type { ServerAddress } from '../../schema/generated/common.ts'
import type { ChunkLocation } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import type { Call, Log } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { blocksOf, sealedBytesOf } from '../crypto/chunk-cipher.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { ChunkOpeners } from './chunk-openers.ts'
import type { ChunkserverPool } from './chunkserver-pool.ts'
import { SILENCE_MS } from './liveness.ts'
import { blamesServer, isAboutTicket, isBadCopy, isPassing, worstOf } from './replica-errors.ts'
import { LATE_MS_MAX, type ServerHealth } from './server-health.ts'

/** Milliseconds without progress after which a replica is given up. */
const STALL_MS = 10_000
/** Sealed blocks that attempts read into, kept for the next ones. */
const SCRATCH_KEPT_MAX = 32
const scratches: Buffer[] = []

export interface ReadParts {
  readonly pool: ChunkserverPool
  readonly openers: ChunkOpeners
  readonly health: ServerHealth
  readonly log: Log
  /** Tells the metadata server of a bad copy; returns at once. */
  readonly report: (location: ChunkLocation, server: number, error: DfsError) => void
}

export interface BlockRange {
  readonly key: InodeKey
  readonly location: ChunkLocation
  readonly servers: readonly ServerAddress[]
  readonly firstBlock: number
  readonly blockCount: number
}

/** One pass over the replicas; made for one read. */
export class BlockRead {
  readonly #parts: ReadParts
  readonly #range: BlockRange
  readonly #replicas: ServerAddress[]
  readonly #running = new Set<Attempt>()
  readonly #errors: DfsError[] = []
  #timer: NodeJS.Timeout | undefined
  #done = false
  #resolve: ((plain: Uint8Array[]) => void) | undefined
  #reject: ((error: Error) => void) | undefined

  constructor(parts: ReadParts, range: BlockRange) {
    this.#parts = parts
    this.#range = range
    const { chunk, servers: holders } = range.location
    this.#replicas = []
    for (const id of parts.health.ordered(holders)) {
      const server = range.servers.find((address) => address.id === id)
      if (server !== undefined) this.#replicas.push(server)
      else
        this.#errors.push(
          new DfsError('serverUnknown', `chunk ${chunk}: chunkserver ${id} has no address`),
        )
    }
  }

  /** The plaintext of each block. Throws the errors of all replicas as one, when none was good. */
  async run(): Promise<Uint8Array[]> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.#next()
    })
  }

  /** After a failure: whether a replica that is out of reach now may be good. */
  get mayPass(): boolean {
    return this.#errors.some(isPassing) && !this.#errors.some(isAboutTicket)
  }

  /** Asks the next replica; fails when there is none and nothing under way. */
  #next(): void {
    const server = this.#replicas.shift()
    if (server === undefined) {
      if (this.#running.size === 0) this.#fail(worstOf(this.#range.location, this.#errors))
      return
    }
    const attempt = new Attempt(this.#parts, this.#range, server)
    this.#running.add(attempt)
    attempt.run().then(
      (plain) => this.#won(attempt, plain),
      (error: unknown) => this.#lost(attempt, error),
    )
    this.#watch()
  }

  #won(attempt: Attempt, plain: Uint8Array[]): void {
    this.#running.delete(attempt)
    if (this.#done) return
    this.#end()
    this.#resolve?.(plain)
  }

  #lost(attempt: Attempt, error: unknown): void {
    this.#running.delete(attempt)
    if (this.#done) return
    if (!(error instanceof DfsError)) {
      this.#fail(error instanceof Error ? error : new Error(String(error)))
      return
    }
    this.#errors.push(error)
    const { location } = this.#range
    const { chunk } = location
    const server = attempt.server.id
    this.#parts.log.warn({ err: error, chunk, server }, 'a replica could not be read')
    if (isBadCopy(error)) this.#parts.report(location, server, error)
    this.#next()
  }

  #fail(error: Error): void {
    if (this.#done) return
    this.#end()
    this.#reject?.(error)
  }

  #end(): void {
    this.#done = true
    clearTimeout(this.#timer)
    for (const attempt of this.#running) attempt.cancel()
  }

  /** Looks after a while whether anything moves. */
  #watch(): void {
    clearTimeout(this.#timer)
    const waitMs = this.#replicas.length > 0 ? this.#parts.health.lateMs : LATE_MS_MAX
    this.#timer = setTimeout(() => this.#look(), waitMs)
  }

  #look(): void {
    const nowMs = performance.now()
    let moving = false
    for (const attempt of this.#running) {
      const stillMs = nowMs - attempt.progressMs
      if (stillMs < this.#parts.health.lateMs) moving = true
      else if (stillMs >= STALL_MS) attempt.giveUp()
      else if (stillMs >= SILENCE_MS) this.#parts.pool.suspect(attempt.server.id)
    }
    if (!moving && this.#replicas.length > 0) this.#next()
    else this.#watch()
  }
}

/** One replica being read. */
class Attempt {
  readonly server: ServerAddress
  /** When something came last. */
  progressMs = performance.now()
  readonly #parts: ReadParts
  readonly #range: BlockRange
  readonly #abort = new AbortController()
  #stalled: DfsError | undefined
  #cancelled = false

  constructor(parts: ReadParts, range: BlockRange, server: ServerAddress) {
    this.#parts = parts
    this.#range = range
    this.server = server
  }

  async run(): Promise<Uint8Array[]> {
    const { health } = this.#parts
    const { id } = this.server
    const startedMs = performance.now()
    health.began(id)
    try {
      const plain = await this.#read(startedMs)
      health.ended(id)
      return plain
    } catch (caught) {
      const error = this.#stalled ?? caught
      if (this.#cancelled || !blamesServer(error)) health.ended(id)
      else health.failed(id)
      throw error
    }
  }

  /** Nobody waits for it any more. */
  cancel(): void {
    this.#cancelled = true
    this.#abort.abort()
  }

  /** It makes no progress. */
  giveUp(): void {
    const detail = `chunk ${this.#range.location.chunk}: chunkserver ${this.server.id} sent nothing for ${STALL_MS} ms`
    this.#stalled = new DfsError('deadlineExceeded', detail)
    this.#abort.abort()
  }

  async #read(startedMs: number): Promise<Uint8Array[]> {
    const { location, firstBlock, blockCount } = this.#range
    const { chunk, ticket } = location
    const request = { chunk, ticket, firstBlock, blockCount }
    const peer = this.#parts.pool.peer(this.server)
    const call = await peer.open(methods.readChunk, request, { signal: this.#abort.signal })
    call.end()
    let over = false
    try {
      const response = await call.response
      this.progressMs = performance.now()
      this.#parts.health.answered(this.server.id, this.progressMs - startedMs)
      const plain = await this.#open(call, response)
      over = true
      return plain
    } finally {
      if (!over) call.cancel()
    }
  }

  async #open(call: Call<ReadChunkResponse>, response: ReadChunkResponse): Promise<Uint8Array[]> {
    const { key, location, firstBlock, blockCount } = this.#range
    const { chunk, length } = location
    const { header, sealedBytes } = response
    if (sealedBytes !== sealedBytesOf(length)) {
      const detail = `chunk ${chunk}: ${sealedBytes} bytes at chunkserver ${this.server.id}, not ${sealedBytesOf(length)}`
      throw new DfsError('chunkTruncated', detail)
    }
    const { openers } = this.#parts
    const opener = openers.take(key, { chunk, header, length })
    const plain: Uint8Array[] = []
    const scratch = scratches.pop() ?? Buffer.allocUnsafeSlow(limits.sealedBlockBytes)
    try {
      for (let index = firstBlock; index < firstBlock + blockCount; index++) {
        const sealed = scratch.subarray(0, opener.plainBytes(index) + limits.tagBytes)
        await this.#fill(call, sealed)
        plain.push(opener.open(index, sealed))
      }
      return plain
    } finally {
      openers.giveBack(opener)
      if (scratches.length < SCRATCH_KEPT_MAX) scratches.push(scratch)
    }
  }

  async #fill(call: Call<ReadChunkResponse>, into: Buffer): Promise<void> {
    for (let filled = 0; filled < into.length;) {
      const taken = call.read(filled === 0 ? into : into.subarray(filled))
      const bytes = typeof taken === 'number' ? taken : await taken.catch(this.#brokenOff)
      if (bytes === 0) {
        const detail = `chunk ${this.#range.location.chunk}: chunkserver ${this.server.id} sent too few bytes`
        throw new DfsError('chunkTruncated', detail)
      }
      filled += bytes
      this.progressMs = performance.now()
    }
  }

  /** A stream that the server breaks off does not say why; asked again, the server does. */
  readonly #brokenOff = (error: unknown): never => {
    if (!(error instanceof DfsError) || error.code !== 'cancelled') throw error
    if (this.#abort.signal.aborted) throw error
    const detail = `chunk ${this.#range.location.chunk}: chunkserver ${this.server.id} broke the answer off`
    throw new DfsError('connectionLost', detail, { cause: error })
  }
}

/** Checks a range against the chunk it is in. */
export function refuseRange({ location, firstBlock, blockCount }: BlockRange): void {
  const blocks = blocksOf(location.length)
  const inside =
    Number.isInteger(firstBlock) &&
    Number.isInteger(blockCount) &&
    firstBlock >= 0 &&
    blockCount > 0 &&
    firstBlock + blockCount <= blocks
  if (inside && location.length <= limits.chunkBytesMax) return
  const detail = `chunk ${location.chunk} has ${blocks} blocks; asked for ${blockCount} from ${firstBlock}`
  throw new DfsError('invalidArgument', detail)
}
