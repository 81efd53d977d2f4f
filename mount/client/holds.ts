/**
 * Which inodes this session holds open, and the telling of the server when it no longer does.
 *
 * The server counts a hold for each request that asked for one; each `release` undoes one of them.
 * Releases are collected for a moment and sent together; nobody waits for them. One that is lost with
 * its connection is not repeated: on the next connection the session announces all that it holds,
 * which replaces what the server has counted. What changes after the announcement, while the connection
 * is still being introduced, waits for it.
 *
 * While nobody else can remove an inode, the server need not know that it is held: it is told a moment
 * later, if it is still held then, or when {@link Holds.tell} says so.
 */
import { methods } from '../../schema/methods.ts'
import type { Connection, Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { mayPass } from './outcomes.ts'
import { retried } from './retry.ts'

/** Milliseconds after which the server is told of a hold. */
const TELL_MS = 500
/** Milliseconds for which telling is tried before it fails. */
const TELL_DEADLINE_MS = 30_000
/** Milliseconds for which releases are collected, and how many travel together at most. */
const COLLECT_MS = 20
const BATCH_MAX = 1_000
/** Milliseconds that the server has to answer to releases. */
const RELEASE_MS = 2_000

/** The server as holds need it. */
export interface HoldsServer {
  /** There is a connection, which began with an announcement. */
  readonly connected: boolean
  release(inodes: number[]): Promise<unknown>
  /** Counts one more hold. Throws `connectionLost` when there is no connection. */
  hold(inode: number): Promise<unknown>
}

/** Holds that are told only over a live connection: a new one begins with an announcement of them. */
export function holdsAt(connection: () => Connection | undefined, log: Log): Holds {
  const live = (): Connection => {
    const now = connection()
    if (now !== undefined) return now
    throw new DfsError('connectionLost', 'there is no connection with the metadata server')
  }
  return new Holds(
    {
      get connected() {
        return connection() !== undefined
      },
      release: async (inodes) =>
        live().call(methods.release, { inodes }, { deadlineMs: RELEASE_MS }),
      hold: async (inode) => live().call(methods.getInode, { inode, hold: true }),
    },
    log,
  )
}

export class Holds {
  readonly #server: HoldsServer
  readonly #log: Log
  readonly #counts = new Map<number, number>()
  /** How many of them the server was not told of. */
  readonly #untold = new Map<number, number>()
  readonly #telling = new Map<number, Promise<void>>()
  readonly #closing = new AbortController()
  /** Announcements so far: what was under way before the last one is part of it. */
  #announcements = 0
  #tellTimer: NodeJS.Timeout | undefined
  #released: number[] = []
  #timer: NodeJS.Timeout | undefined
  readonly #sending = new Set<Promise<void>>()

  constructor(server: HoldsServer, log: Log) {
    this.#server = server
    this.#log = log
  }

  /** All holds, an inode as often as it is held, to be told to the server instead of releases. */
  announce(): number[] {
    this.#announcements++
    this.#released = []
    this.#untold.clear()
    const all: number[] = []
    for (const [inode, count] of this.#counts) {
      for (let held = 0; held < count; held++) all.push(inode)
    }
    return all
  }

  add(inode: number): void {
    this.#counts.set(inode, (this.#counts.get(inode) ?? 0) + 1)
  }

  /** Holds an inode that nobody else can remove for the time being. */
  addUntold(inode: number): void {
    this.add(inode)
    this.#untold.set(inode, (this.#untold.get(inode) ?? 0) + 1)
    this.#tellTimer ??= setTimeout(() => {
      // Whoever relies on it tells again, and meets the error.
      this.tell().catch((error: unknown) => {
        this.#log.warn({ err: error }, 'the server does not know yet which inodes are held')
      })
    }, TELL_MS)
  }

  /**
   * Tells the server of one inode that it does not know to be held, or of all. Throws why it could not be
   * told in time.
   */
  async tell(inode?: number): Promise<void> {
    if (inode === undefined) {
      clearTimeout(this.#tellTimer)
      this.#tellTimer = undefined
      const inodes = [...this.#untold.keys(), ...this.#telling.keys()]
      await Promise.all(inodes.map(async (each) => this.tell(each)))
      return
    }
    const count = this.#untold.get(inode)
    if (count !== undefined) {
      this.#untold.delete(inode)
      const before = this.#telling.get(inode)
      const telling = this.#tellOnce(inode, count, before).finally(() => {
        if (this.#telling.get(inode) === telling) this.#telling.delete(inode)
      })
      this.#telling.set(inode, telling)
    }
    await this.#telling.get(inode)
  }

  release(inode: number): void {
    const count = this.#counts.get(inode)
    if (count === undefined) {
      this.#log.error({ inode }, 'released an inode that is not held: a bug in dfs')
      return
    }
    if (count === 1) this.#counts.delete(inode)
    else this.#counts.set(inode, count - 1)
    if (this.#dropUntold(inode)) return
    const telling = this.#telling.get(inode)
    if (telling === undefined) {
      this.#sendLater(inode)
      return
    }
    // The server must not hear of the end before the beginning.
    const announcements = this.#announcements
    const told = (): void => {
      if (announcements === this.#announcements && !this.#dropUntold(inode)) this.#sendLater(inode)
    }
    telling.then(told, told)
  }

  /** Sends what is collected and waits for the answers; bounded by the deadline of a release. */
  async close(): Promise<void> {
    clearTimeout(this.#tellTimer)
    this.#closing.abort()
    await Promise.allSettled(this.#telling.values())
    this.#flush()
    clearTimeout(this.#timer)
    await Promise.all(this.#sending)
  }

  /** One hold fewer that the server was not told of; false when it was told of all. */
  #dropUntold(inode: number): boolean {
    const untold = this.#untold.get(inode)
    if (untold === undefined) return false
    if (untold > 1) this.#untold.set(inode, untold - 1)
    else this.#untold.delete(inode)
    return true
  }

  #sendLater(inode: number): void {
    this.#released.push(inode)
    if (this.#released.length >= BATCH_MAX) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), COLLECT_MS)
  }

  async #tellOnce(inode: number, count: number, before: Promise<void> | undefined): Promise<void> {
    const announcements = this.#announcements
    const options = {
      what: `holding inode ${inode}`,
      deadlineMs: TELL_DEADLINE_MS,
      passing: (error: DfsError) => mayPass(error) || error.code === 'deadlineExceeded',
      signal: this.#closing.signal,
    }
    let told = 0
    try {
      await before
      for (; told < count; told++) {
        await retried(options, async () => {
          if (announcements === this.#announcements) await this.#server.hold(inode)
        })
      }
    } catch (error) {
      if (announcements !== this.#announcements) return
      if (error instanceof DfsError && error.code === 'staleInode') {
        this.#log.warn({ err: error, inode }, 'an inode that is held is gone from the server')
        return
      }
      this.#untold.set(inode, (this.#untold.get(inode) ?? 0) + count - told)
      throw error
    }
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#released.length === 0) return
    if (!this.#server.connected) {
      // They are part of the announcement that the next connection begins with, or follow it.
      this.#timer = setTimeout(() => this.#flush(), COLLECT_MS)
      return
    }
    const inodes = this.#released
    this.#released = []
    const sending = this.#sendOnce(inodes)
    this.#sending.add(sending)
    void sending.then(() => this.#sending.delete(sending))
  }

  async #sendOnce(inodes: number[]): Promise<void> {
    try {
      await this.#server.release(inodes)
    } catch (error) {
      this.#log.warn(
        { err: error, inodes: inodes.length },
        'inodes stay held at the server for now',
      )
    }
  }
}
