/**
 * Replicas that a client says are bad. Nobody is believed: the chunkserver reads its copy from end to
 * end, and only what it finds counts. One at a time on each server, a bounded number in line, and the
 * same copy not again for a while, so that reports cost a server no more than a slow scrub.
 */
import { LRUCache } from 'lru-cache'
import { methods } from '../../../schema/methods.ts'
import type { Log } from '../../../schema/rpc/api.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import type { ServerLinks } from '../server-links.ts'

/** Reports that may wait; beyond, they are dropped: scrubbing finds damage, too. */
const WAITING_MAX = 4_096
/** Copies remembered to have been read, and milliseconds for which they are not read again. */
const REMEMBERED_MAX = 10_000
const REMEMBERED_MS = 600_000

export interface SuspectParts {
  readonly links: ServerLinks
  readonly log: Log
  /** The chunkserver itself found its copy damaged or missing. */
  readonly onBad: (server: number, chunk: number) => Promise<void>
}

export class Suspects {
  readonly #parts: SuspectParts
  readonly #lines = new Map<number, Set<number>>()
  readonly #working = new Map<number, Promise<void>>()
  readonly #read = new LRUCache<string, true>({ max: REMEMBERED_MAX, ttl: REMEMBERED_MS })
  #waiting = 0
  #stopped = false

  constructor(suspectParts: SuspectParts) {
    this.#parts = suspectParts
  }

  /** Has a copy read by its server, when its turn comes. */
  add(server: number, chunk: number): void {
    if (this.#stopped || this.#waiting >= WAITING_MAX || !this.#parts.links.has(server)) return
    if (this.#read.has(`${server} ${chunk}`)) return
    const line = this.#lines.get(server) ?? new Set()
    if (line.has(chunk)) return
    this.#lines.set(server, line.add(chunk))
    this.#waiting++
    if (this.#working.has(server)) return
    const work = this.#work(server, line).finally(() => this.#working.delete(server))
    this.#working.set(server, work)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#working.values())
  }

  async #work(server: number, line: Set<number>): Promise<void> {
    for (const chunk of line) {
      if (!this.#stopped) await this.#check(server, chunk)
      line.delete(chunk)
      this.#waiting--
    }
    this.#lines.delete(server)
  }

  async #check(server: number, chunk: number): Promise<void> {
    const { links, log, onBad } = this.#parts
    try {
      const request = { chunks: [chunk], verify: true }
      const { bad } = await links.call(server, methods.checkChunks, request)
      this.#read.set(`${server} ${chunk}`, true)
      if (bad.includes(chunk)) await onBad(server, chunk)
      else log.info({ server, chunk }, 'a reported replica is as it was written')
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      const { code, message } = error
      log.warn({ server, chunk, code, err: message }, 'could not have a reported replica checked')
    }
  }
}
