/**
 * Sessions: a device's standing with this server, which outlives its connections and our restarts.
 *
 * A session ends when no connection has carried it for a minute, or when its owner or the operator
 * says so; after a start every known session has a minute to come back. With it go its holds and its logged answers; its record goes last, so
 * that a kill in between only means that it ends once more.
 */
import type { Connection, Log } from '../../schema/rpc/api.ts'
import type { DeviceRecord, SessionRecord, UserRecord } from '../../schema/generated/records.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { Clock } from './clock.ts'
import type { Holds } from './holds.ts'
import type { Leases } from './leases.ts'
import { ReplyLog } from './reply-log.ts'
import type { Database } from './store/database.ts'
import { keys, parts, ranges } from './store/keys.ts'
import type { Sequence } from './store/sequences.ts'
import { tables } from './store/tables.ts'
import type { Transaction } from './store/transaction.ts'

/** Milliseconds without a connection after which a session ends. */
export const SESSION_GRACE_MS = 60_000
/** Sessions of one user, those without a connection included. */
export const SESSIONS_PER_USER_MAX = 256
/** Ranges of inode numbers that a session may still use: files wait for their birth for seconds. */
const NUMBER_RANGES_MAX = 16
const PAGE = 1_000

export interface Session {
  record: SessionRecord
  /** Set when a device takes it up. */
  replies: ReplyLog | undefined
  connection: Connection | undefined
  /** Counts the connections that took it up; tells whose holds are whose. */
  takenUp: number
  /** By which `takenUp` an operation counted its hold, so that a repeated one does not count twice. */
  readonly holdOperations: Map<number, number>
  detachedMs: number
  ended: boolean
}

/** Lets a transaction be decided only while the session lives; throws `notLoggedIn` once it has ended. */
export function whileOpen(txn: Transaction, session: Session): void {
  if (session.ended) throw new DfsError('notLoggedIn', 'the session has ended; open a new one')
  txn.guard(() => !session.ended)
}

export interface SessionsOptions {
  readonly database: Database
  readonly holds: Holds
  readonly leases: Leases
  readonly ids: Sequence
  readonly clock: Clock
  readonly log: Log
}

export class Sessions {
  readonly #options: SessionsOptions
  readonly #sessions = new Map<number, Session>()
  readonly #countByUser = new Map<number, number>()

  constructor(options: SessionsOptions) {
    this.#options = options
  }

  /** Reads the sessions of the process before us. */
  async load(): Promise<void> {
    let after: Buffer | undefined
    for (;;) {
      const page = await this.#options.database.durablePage(ranges.sessions, PAGE, after)
      for (const key of page.damaged) {
        this.#options.log.error({ session: parts.id(key) }, 'a damaged session is over')
      }
      for (const { value } of page.entries) {
        const { record } = this.#put(tables.sessions.decode(value))
        this.#options.holds.expect(record.session)
      }
      after = page.last
      if (after === undefined || !page.more) return
    }
  }

  /**
   * Takes up a session on a connection: the one asked for when it is this device's and still lives,
   * else a new one. `held` replaces what it holds. Throws `tooManyRequests` for one session too many.
   */
  async open(
    connection: Connection,
    user: UserRecord,
    device: DeviceRecord,
    wanted: number,
    held: readonly number[],
  ): Promise<Session> {
    const session = this.#resumable(wanted, device) ?? (await this.#create(user, device))
    session.replies ??= await ReplyLog.load(this.#options.database, session.record.session)
    if (session.ended)
      throw new DfsError('notLoggedIn', 'the session ended meanwhile; open a new one')
    session.connection = connection
    session.takenUp++
    this.#options.holds.replace(session.record.session, held)
    void connection.closed.then(() => {
      if (session.connection !== connection) return
      session.connection = undefined
      session.detachedMs = this.#options.clock.nowMs()
    })
    return session
  }

  /** Ends sessions that nobody has taken up for too long. To be called every few seconds. */
  async sweep(): Promise<void> {
    const before = this.#options.clock.nowMs() - SESSION_GRACE_MS
    for (const session of this.#sessions.values()) {
      if (session.connection === undefined && session.detachedMs < before) {
        await this.#end(session, 'its connection is gone')
      }
    }
  }

  /**
   * Ends sessions at once, with their connections, except that of `asking`: that one still gets its
   * answer. From the call on, nothing that they have under way is decided. Returns how many.
   */
  async endWhere(chosen: (record: SessionRecord) => boolean, asking?: Connection): Promise<number> {
    const ending = [...this.#sessions.values()].filter(({ record }) => chosen(record))
    for (const session of ending) session.ended = true
    for (const session of ending) {
      const { connection } = session
      await this.#end(session, 'it was told to')
      if (connection === undefined || connection === asking) continue
      // A peer that is gone or frozen must not hold up whoever ends its session.
      connection.close().catch((error: unknown) => {
        this.#options.log.warn({ err: error, session: session.record.session }, 'closing failed')
      })
    }
    return ending.length
  }

  /** Connections that carry sessions now. */
  connections(): Connection[] {
    const found: Connection[] = []
    for (const { connection } of this.#sessions.values()) {
      if (connection !== undefined) found.push(connection)
    }
    return found
  }

  /** Connections that carry sessions of a user now. */
  connectionsOf(user: number): Connection[] {
    const found: Connection[] = []
    for (const { record, connection } of this.#sessions.values()) {
      if (record.userId === user && connection !== undefined) found.push(connection)
    }
    return found
  }

  /** Sessions of a device that a connection carries now. */
  connectedOf(device: number): number {
    let count = 0
    for (const { record, connection } of this.#sessions.values()) {
      if (record.device === device && connection !== undefined) count++
    }
    return count
  }

  /** The user's only session, when there is only one. */
  soleOf(user: number): Session | undefined {
    if (this.#countByUser.get(user) !== 1) return undefined
    for (const session of this.#sessions.values()) {
      if (session.record.userId === user) return session
    }
    return undefined
  }

  /** Remembers inode numbers as given to a session. */
  async giveNumbers(session: Session, first: number, count: number): Promise<void> {
    const inodeNumbers = [...session.record.inodeNumbers, first, first + count]
    session.record = { ...session.record, inodeNumbers: inodeNumbers.slice(-2 * NUMBER_RANGES_MAX) }
    const { record } = session
    await this.#options.database.write({}, (txn) => {
      if (session.ended) throw new DfsError('notLoggedIn', 'the session has ended; open a new one')
      txn.guard(() => !session.ended)
      txn.put(tables.sessions, keys.session(record.session), record)
    })
  }

  /** Ends a session whose client is done with it. */
  async end(session: Session): Promise<void> {
    if (!session.ended) await this.#end(session, 'its client closed it')
  }

  get size(): number {
    return this.#sessions.size
  }

  #resumable(wanted: number, device: DeviceRecord): Session | undefined {
    const session = this.#sessions.get(wanted)
    return session !== undefined && !session.ended && session.record.device === device.device
      ? session
      : undefined
  }

  async #create(user: UserRecord, device: DeviceRecord): Promise<Session> {
    const { database, ids, clock } = this.#options
    const count = this.#countByUser.get(user.userId) ?? 0
    if (count >= SESSIONS_PER_USER_MAX) {
      throw new DfsError(
        'tooManyRequests',
        `${user.user} has ${count} sessions open; unmount somewhere and wait a minute`,
      )
    }
    const record: SessionRecord = {
      session: await ids.take(),
      userId: user.userId,
      device: device.device,
      opened: clock.nowNs(),
      inodeNumbers: [],
    }
    const session = this.#put(record)
    session.replies = new ReplyLog(record.session)
    await database.write({}, (txn) => {
      txn.put(tables.sessions, keys.session(record.session), record)
    })
    return session
  }

  #put(record: SessionRecord): Session {
    const session: Session = {
      record,
      replies: undefined,
      connection: undefined,
      takenUp: 0,
      holdOperations: new Map(),
      detachedMs: this.#options.clock.nowMs(),
      ended: false,
    }
    this.#sessions.set(record.session, session)
    this.#countByUser.set(record.userId, (this.#countByUser.get(record.userId) ?? 0) + 1)
    return session
  }

  async #end(session: Session, why: string): Promise<void> {
    const { database, holds, leases, log } = this.#options
    const { session: id, userId, device } = session.record
    session.ended = true
    holds.drop(id)
    await ReplyLog.erase(database, id)
    await database.write({}, (txn) => txn.delete(tables.sessions, keys.session(id)))
    // Somebody else may have ended it meanwhile.
    if (!this.#sessions.delete(id)) return
    this.#countByUser.set(userId, (this.#countByUser.get(userId) ?? 1) - 1)
    leases.ended(session, this.soleOf(userId))
    log.info({ session: id, user: userId, device }, `session ended: ${why}`)
  }
}
