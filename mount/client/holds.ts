/**
 * Which inodes this session holds open, and the telling of the server when it no longer does.
 *
 * The server counts a hold for each request that asked for one; each `release` undoes one of them.
 * Releases are collected for a moment and sent together; nobody waits for them. One that is lost with
 * its connection is not repeated: on the next connection the session announces all that it holds,
 * which replaces what the server has counted.
 */
import type { Log } from '../../schema/rpc/api.ts'

/** Milliseconds for which releases are collected, and how many travel together at most. */
const COLLECT_MS = 20
const BATCH_MAX = 1_000

export class Holds {
  readonly #send: (inodes: number[]) => Promise<unknown>
  readonly #log: Log
  readonly #counts = new Map<number, number>()
  #released: number[] = []
  #timer: NodeJS.Timeout | undefined
  readonly #sending = new Set<Promise<void>>()

  /** `send` carries releases to the server; its failures are logged. */
  constructor(send: (inodes: number[]) => Promise<unknown>, log: Log) {
    this.#send = send
    this.#log = log
  }

  /** All holds, an inode as often as it is held, to be told to the server instead of releases. */
  announce(): number[] {
    this.#released = []
    const all: number[] = []
    for (const [inode, count] of this.#counts) {
      for (let held = 0; held < count; held++) all.push(inode)
    }
    return all
  }

  add(inode: number): void {
    this.#counts.set(inode, (this.#counts.get(inode) ?? 0) + 1)
  }

  release(inode: number): void {
    const count = this.#counts.get(inode)
    if (count === undefined) {
      this.#log.error({ inode }, 'released an inode that is not held: a bug in dfs')
      return
    }
    if (count === 1) this.#counts.delete(inode)
    else this.#counts.set(inode, count - 1)
    this.#released.push(inode)
    if (this.#released.length >= BATCH_MAX) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), COLLECT_MS)
  }

  /** Sends what is collected and waits for the answers; bounded by the deadline of `send`. */
  async close(): Promise<void> {
    this.#flush()
    await Promise.all(this.#sending)
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
