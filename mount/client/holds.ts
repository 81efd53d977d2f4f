/**
 * Which inodes this session holds open, and the telling of the server when it no longer does.
 *
 * The server counts a hold for each request that asked for one; each `release` undoes one of them.
 * Releases are collected for a moment and sent together; nobody waits for them. One that is lost with
 * its connection is not repeated: on the next connection the session announces all that it holds,
 * which replaces what the server has counted.
 *
 * While nobody else can remove an inode, the server need not know that it is held: it is told a moment
 * later, if it is still held then, or when {@link Holds.tell} says so.
 */
import { methods } from '../../schema/methods.ts'
import type { Connection, Log } from '../../schema/rpc/api.ts'

/** Milliseconds after which the server is told of a hold. */
const TELL_MS = 500
/** Milliseconds for which releases are collected, and how many travel together at most. */
const COLLECT_MS = 20
const BATCH_MAX = 1_000
/** Milliseconds that the server has to answer to releases. */
const RELEASE_MS = 2_000

/** Holds that are told only over a live connection: a new one begins with an announcement of them. */
export function holdsAt(connected: () => Connection | undefined, log: Log): Holds {
  return new Holds(
    async (inodes) => connected()?.call(methods.release, { inodes }, { deadlineMs: RELEASE_MS }),
    async (inode) => connected()?.call(methods.getInode, { inode, hold: true }),
    log,
  )
}

export class Holds {
  readonly #send: (inodes: number[]) => Promise<unknown>
  readonly #tell: (inode: number) => Promise<unknown>
  readonly #log: Log
  readonly #counts = new Map<number, number>()
  /** How many of them the server was not told of. */
  readonly #untold = new Map<number, number>()
  readonly #telling = new Map<number, Promise<void>>()
  #tellTimer: NodeJS.Timeout | undefined
  #released: number[] = []
  #timer: NodeJS.Timeout | undefined
  readonly #sending = new Set<Promise<void>>()

  /** `send` carries releases to the server, `tell` one hold; their failures are logged. */
  constructor(
    send: (inodes: number[]) => Promise<unknown>,
    tell: (inode: number) => Promise<unknown>,
    log: Log,
  ) {
    this.#send = send
    this.#tell = tell
    this.#log = log
  }

  /** All holds, an inode as often as it is held, to be told to the server instead of releases. */
  announce(): number[] {
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
    this.#tellTimer ??= setTimeout(() => void this.tell(), TELL_MS)
  }

  /** Tells the server of one inode that it does not know to be held, or of all. */
  async tell(inode?: number): Promise<void> {
    if (inode === undefined) {
      clearTimeout(this.#tellTimer)
      this.#tellTimer = undefined
      await Promise.all([...this.#untold.keys()].map(async (each) => this.tell(each)))
      await Promise.all(this.#telling.values())
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
    const untold = this.#untold.get(inode) ?? 0
    if (untold > 1) this.#untold.set(inode, untold - 1)
    else if (untold === 1) this.#untold.delete(inode)
    if (untold > 0) return
    const telling = this.#telling.get(inode)
    // The server must not hear of the end before the beginning.
    if (telling === undefined) this.#sendLater(inode)
    else void telling.then(() => this.#sendLater(inode))
  }

  #sendLater(inode: number): void {
    this.#released.push(inode)
    if (this.#released.length >= BATCH_MAX) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), COLLECT_MS)
  }

  /** Sends what is collected and waits for the answers; bounded by the deadline of `send`. */
  async close(): Promise<void> {
    clearTimeout(this.#tellTimer)
    await Promise.all(this.#telling.values())
    this.#flush()
    await Promise.all(this.#sending)
  }

  async #tellOnce(inode: number, count: number, before: Promise<void> | undefined): Promise<void> {
    await before
    for (let told = 0; told < count; told++) {
      try {
        await this.#tell(inode)
      } catch (error) {
        this.#log.warn({ err: error, inode }, 'the server does not know that an inode is held')
      }
    }
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#released.length === 0) return
    const inodes = this.#released
    this.#released = []
    const sending = this.#sendOnce(inodes)
    this.#sending.add(sending)
    void sending.then(() => this.#sending.delete(sending))
  }

  async #sendOnce(inodes: number[]): Promise<void> {
    try {
      await this.#send(inodes)
    } catch (error) {
      this.#log.warn(
        { err: error, inodes: inodes.length },
        'inodes stay held at the server for now',
      )
    }
  }
}
