/**
 * Who may trust what it has cached: one lease for each user's tree.
 *
 * The only open session of a user holds the lease. While it does, a request about the tree from any
 * other session of the user waits until the holder has answered its recall, or has lost the lease
 * because it did not answer within the term: then its connection is closed, so that it learns of it
 * before it hears anything else, and what it made under that lease and sends later is refused. With
 * several sessions open nobody holds it; the last one left is given it again.
 *
 * Leases are not kept across restarts; their numbers come from a sequence that is, so none comes
 * twice.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { methods } from '../../schema/methods.ts'
import type { Connection, Log } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'

/** Milliseconds between looks whether a holder without a connection has come back. */
const LOOK_MS = 50
/** Milliseconds that the offer of a lease may take; it is held from the moment it is offered. */
const OFFER_MS = 5_000

/** What a lease is given to; a session of the server. */
export interface Leaseholder {
  readonly record: { readonly session: number; readonly userId: number }
  readonly connection: Connection | undefined
  readonly ended: boolean
}

interface Lease {
  readonly holder: Leaseholder
  readonly id: number
  recall: Promise<void> | undefined
}

export interface LeasesOptions {
  /** The next number, at once; undefined when none is at hand. */
  readonly nextId: () => number | undefined
  readonly log: Log
  /** Milliseconds, never backwards. */
  readonly nowMs?: () => number
  readonly pause?: (ms: number) => Promise<unknown>
}

export class Leases {
  /** Tells this start of the server from others. */
  readonly boot: Buffer = randomBytes(16)
  readonly #nextId: () => number | undefined
  readonly #log: Log
  readonly #nowMs: () => number
  readonly #pause: (ms: number) => Promise<unknown>
  /** By user. */
  readonly #leases = new Map<number, Lease>()

  constructor({ nextId, log, nowMs, pause }: LeasesOptions) {
    this.#nextId = nextId
    this.#log = log
    this.#nowMs = nowMs ?? (() => performance.now())
    this.#pause = pause ?? (async (ms) => sleep(ms, undefined, { ref: false }))
  }

  /**
   * A session was opened or taken up on a connection; `sole` when its user has no other. Returns the
   * lease that it holds, 0 for none.
   */
  opened(session: Leaseholder, sole: boolean): number {
    const lease = this.#leases.get(session.record.userId)
    if (lease?.holder === session) return lease.id
    return lease === undefined && sole ? this.#give(session) : 0
  }

  /** Whether a session holds this lease, at this moment. */
  holds(session: Leaseholder, id: number): boolean {
    const lease = this.#leases.get(session.record.userId)
    return lease?.holder === session && lease.id === id
  }

  /**
   * To be awaited before anything about the session's tree is looked at; undefined when nothing
   * stands in the way. Takes the term at most.
   */
  enter(session: Leaseholder): Promise<void> | undefined {
    const lease = this.#leases.get(session.record.userId)
    if (lease === undefined || lease.holder === session) return undefined
    lease.recall ??= this.#recall(lease)
    return lease.recall
  }

  /** A session is over; `sole` is the only one that its user has left, if there is only one. */
  ended(session: Leaseholder, sole: Leaseholder | undefined): void {
    const { userId } = session.record
    if (this.#leases.get(userId)?.holder === session) this.#leases.delete(userId)
    if (sole?.connection === undefined || sole.ended || this.#leases.has(userId)) return
    const id = this.#give(sole)
    if (id === 0) return
    // Whether it hears of it or not: a recall comes before anybody else's request.
    sole.connection
      .call(methods.grantLease, { lease: id }, { deadlineMs: OFFER_MS })
      .catch((error: unknown) => {
        this.#log.debug({ err: error, session: sole.record.session }, 'a lease was not taken')
      })
  }

  #give(holder: Leaseholder): number {
    const id = this.#nextId()
    if (id === undefined) return 0
    this.#leases.set(holder.record.userId, { holder, id, recall: undefined })
    return id
  }

  async #recall(lease: Lease): Promise<void> {
    const { holder, id } = lease
    const { session, userId } = holder.record
    const startedMs = this.#nowMs()
    let answered = false
    while (!answered && !holder.ended) {
      const leftMs = limits.leaseTermMs - (this.#nowMs() - startedMs)
      if (leftMs <= 0) break
      answered = await this.#ask(holder.connection, id, leftMs)
      if (!answered) await this.#pause(Math.min(LOOK_MS, leftMs))
    }
    if (this.#leases.get(userId) === lease) this.#leases.delete(userId)
    if (answered || holder.ended) return
    this.#log.warn(
      { session, user: userId, lease: id, termMs: limits.leaseTermMs },
      'a mount did not answer the recall of its lease and lost it; what it held back is refused',
    )
    // Nobody waits for it: the lease does not hold any more, and what is cached was trusted for less.
    holder.connection?.close().catch((error: unknown) => {
      this.#log.debug({ err: error, session }, 'closing the connection of a lost mount failed')
    })
  }

  async #ask(connection: Connection | undefined, id: number, leftMs: number): Promise<boolean> {
    if (connection === undefined) return false
    try {
      await connection.call(methods.recallLease, { lease: id }, { deadlineMs: leftMs })
      return true
    } catch (error) {
      // Lost with its connection, or late: asked again while the term lasts.
      this.#log.debug({ err: error, lease: id }, 'a recall was not answered')
      return false
    }
  }
}
