/**
 * The keys that tickets are MACed with, shared with the chunkservers over their heartbeats.
 *
 * A new key every twelve hours; it is handed out a minute before it is used, and an old one is kept
 * until no ticket made with it can live. All of them are in the store: tickets survive a restart.
 */
import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import type { TicketKey } from '../../schema/generated/cluster.ts'
import type { TicketKeyRecord } from '../../schema/generated/records.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { issueTicket, verifyTicket, type Rights, type TicketClaims } from '../ticket.ts'
import type { Clock } from './clock.ts'
import type { Database } from './store/database.ts'
import { keys } from './store/keys.ts'
import { tables } from './store/tables.ts'

/** Milliseconds that a ticket lives at most: a write ticket, which is also the life of its plan. */
export const TICKET_LIFE_MS = 3_600_000
/** Milliseconds for which a key issues tickets. */
const ROTATION_MS = 12 * 3_600_000
/** Milliseconds from handing a key out to using it: a chunkserver misses at most some heartbeats. */
const ACTIVATION_MS = 60_000
const SECRET_BYTES = 32
const NS_PER_MS = 1_000_000n

export class TicketKeys {
  readonly #database: Database
  readonly #clock: Clock
  #records: readonly TicketKeyRecord[] = []
  #objects = new Map<number, KeyObject>()

  private constructor(database: Database, clock: Clock) {
    this.#database = database
    this.#clock = clock
  }

  static async open(database: Database, clock: Clock): Promise<TicketKeys> {
    const ticketKeys = new TicketKeys(database, clock)
    const stored = await database.read((txn) => txn.get(tables.ticketKeys, keys.ticketKeys))
    ticketKeys.#take(stored?.keys ?? [])
    await ticketKeys.rotate()
    return ticketKeys
  }

  /** To be called now and then: makes a new key when it is time, and forgets dead ones. */
  async rotate(): Promise<void> {
    const nowMs = this.#clock.nowMs()
    const newest = this.#records.at(-1)
    if (newest === undefined || activeFromMs(newest) + ROTATION_MS <= nowMs) {
      await this.replace()
      return
    }
    const living = this.#living(nowMs)
    if (living.length < this.#records.length) await this.#keep(living)
  }

  /**
   * Makes a new key now, for when a chunkserver that knows the others may not check tickets any more.
   * Theirs are accepted until no ticket made with them can live.
   */
  async replace(): Promise<void> {
    const nowMs = this.#clock.nowMs()
    const newest = this.#records.at(-1)
    const fresh: TicketKeyRecord = {
      id: (newest?.id ?? 0) + 1,
      secret: randomBytes(SECRET_BYTES),
      // The very first key is there before any chunkserver is.
      activeFrom: BigInt(newest === undefined ? nowMs : nowMs + ACTIVATION_MS) * NS_PER_MS,
    }
    await this.#keep([...this.#living(nowMs), fresh])
  }

  /** Keys of which tickets may live: each issues until the next is active, the newest goes on. */
  #living(nowMs: number): TicketKeyRecord[] {
    return this.#records.filter((_, i) => {
      const next = this.#records[i + 1]
      return next === undefined || nowMs - activeFromMs(next) <= TICKET_LIFE_MS
    })
  }

  async #keep(records: readonly TicketKeyRecord[]): Promise<void> {
    await this.#database.write({}, (txn) => {
      txn.put(tables.ticketKeys, keys.ticketKeys, { keys: [...records] })
    })
    this.#take(records)
  }

  /** What a chunkserver needs to check tickets. */
  forChunkservers(): TicketKey[] {
    return this.#records.map(({ id, secret }) => ({ id, secret }))
  }

  /** A ticket that lives until `expiresMs`. */
  issue(user: number, chunk: number, rights: Rights, expiresMs: number): Uint8Array {
    const nowNs = this.#clock.nowNs()
    const active = this.#records.findLast(({ activeFrom }) => activeFrom <= nowNs)
    invariant(active !== undefined, 'there is always an active ticket key')
    const key = this.#objects.get(active.id)
    invariant(key !== undefined, 'every ticket key has its key object')
    return issueTicket({ rights, keyId: active.id, user, chunk, expiresMs }, key)
  }

  /** Throws `ticketInvalid` or `ticketExpired`. */
  verify(ticket: Uint8Array, chunk: number, rights: Rights): TicketClaims {
    return verifyTicket(
      ticket,
      { chunk, rights },
      (id) => this.#objects.get(id),
      this.#clock.nowMs(),
    )
  }

  #take(records: readonly TicketKeyRecord[]): void {
    this.#records = records
    this.#objects = new Map(
      records.map(({ id, secret }) => [id, createSecretKey(Buffer.from(secret))]),
    )
  }
}

const activeFromMs = (key: TicketKeyRecord): number => Number(key.activeFrom / NS_PER_MS)
