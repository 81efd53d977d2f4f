/**
 * When changed inodes go into a checkpoint: a moment after the first of them, so that many share one;
 * and at once when somebody else is about to look, or the session ends.
 */
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { Changes } from './changes.ts'
import { DEAD } from './version-pages.ts'

/** Milliseconds from a change to its checkpoint, while the server answers. */
export const CHECKPOINT_MS = 2_000

interface Writer {
  checkpoint(changes: Changes): Promise<boolean>
}

export class Checkpoints {
  readonly #writer: Writer
  readonly #log: Log
  readonly #changes = new Changes()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #closed = false
  /** Why the last one failed; told once. */
  #failure: string | undefined
  #gaveUp = false

  constructor(writer: Writer, log: Log) {
    this.#writer = writer
    this.#log = log
  }

  /** The server has acknowledged this version of an inode. */
  changed(inode: number, version: number): void {
    this.#raise(inode, version)
  }

  /** The server has acknowledged that an inode lost its last name. */
  removed(inode: number): void {
    this.#raise(inode, DEAD)
  }

  /** Writes all that waits; returns when that is done, or did not work, or after `limitMs`. */
  async settle(limitMs: number): Promise<void> {
    if (this.#changes.size === 0 && this.#running === undefined) return
    let timer: NodeJS.Timeout | undefined
    const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, limitMs)))
    await Promise.race([this.#all(), limit])
    clearTimeout(timer)
  }

  /** As {@link settle}; nothing is written any more afterwards. */
  async close(limitMs: number): Promise<void> {
    await this.settle(limitMs)
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #raise(inode: number, bound: number): void {
    if (this.#changes.raise(inode, bound) > 0 && !this.#gaveUp) {
      this.#gaveUp = true
      const message = 'too many changed inodes wait for a checkpoint: some stay without'
      this.#log.warn({ waiting: this.#changes.size }, message)
    }
    if (this.#changes.many) void this.#run(false)
    else this.#schedule()
  }

  #schedule(): void {
    if (this.#closed || this.#changes.size === 0 || this.#timer !== undefined) return
    this.#timer = setTimeout(() => void this.#run(false), CHECKPOINT_MS)
    this.#timer.unref()
  }

  async #all(): Promise<void> {
    // One that is under way may not have all of it.
    await this.#running
    if (this.#changes.size > 0) await this.#run(true)
  }

  #run(all: boolean): Promise<void> {
    if (this.#closed) return Promise.resolve()
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#running ??= this.#write(all).finally(() => {
      this.#running = undefined
      this.#schedule()
    })
    return this.#running
  }

  async #write(all: boolean): Promise<void> {
    try {
      while (!(await this.#writer.checkpoint(this.#changes))) {
        if (this.#closed || !(all || this.#changes.many)) break
      }
      this.#failure = undefined
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      if (error.code === this.#failure) return
      this.#failure = error.code
      const fields = { code: error.code, cause: error.message, waiting: this.#changes.size }
      this.#log.warn(fields, 'no checkpoint of what was changed; trying again')
    }
  }
}
