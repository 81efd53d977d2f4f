/**
 * Changes of names that were answered under the lease of the tree before the server knows of them: made,
 * moved and removed files and directories, in order.
 *
 * They are sent a moment later, many in one request, which takes effect as a whole. So the server has
 * always had all changes up to some point and none after it, whatever dies. Nothing else about the tree
 * is asked for or changed before it has had all of them ({@link NameJournal.settle}); a change that is
 * held back is durable once `settle` resolves.
 *
 * Whoever appends has made sure that the change will succeed. When it does not after all (the lease
 * was lost, the server cannot be reached for too long, a record is damaged), it is given up, logged, and
 * reported once, to whoever syncs or changes names next; and nothing counts as known of the tree any more.
 */
import type { Inode } from '../../schema/generated/common.ts'
import type { NameChange } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { LeaseTerm } from '../client/lease.ts'
import { isAnswer } from '../client/outcomes.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { FreshSession } from '../freshness/fresh-session.ts'
import type { InodeVerifier } from './inode-verifier.ts'
import type { Asked, LeasedTree } from './leased-tree.ts'

/** Milliseconds that a change waits for others to travel with. */
const WAIT_MS = 5
/** Bytes of content that births which travel together bring. */
const CONTENT_BYTES_MAX = 512 * 1_024
/** Changes that may wait; who makes more waits for room. About 2 KiB each. */
const WAITING_MAX = 1_024
/** Of these, how many are left when there is room again. */
const ROOM_AT = 768

/** One change, as it is sent and as the log names it. */
export interface HeldBack {
  readonly change: Omit<NameChange, 'lease'>
  /** The lease under which it was answered. */
  readonly term: LeaseTerm
  readonly path: string
  /** What opens the inodes that it changes, by their numbers. */
  readonly keys: readonly (readonly [inode: number, key: InodeKey])[]
  /** Told how it ended; a failure that it takes is not reported elsewhere. */
  readonly done?: (inodes: ReadonlyMap<number, Inode>) => void
  readonly failed?: (error: DfsError) => void
}

interface Waiting extends HeldBack {
  /** An answer to it tells nothing of what was changed after this. */
  readonly asked: Asked
}

interface Waiter {
  readonly count: number
  readonly resolve: () => void
}

interface Parts {
  readonly session: Pick<FreshSession, 'mutate' | 'tellHolds' | 'changed' | 'removed'>
  readonly leased: LeasedTree
  readonly verifier: InodeVerifier
  readonly givenUp: { count: number }
  readonly log: Log
}

export class NameJournal {
  readonly #parts: Parts
  #waiting: Waiting[] = []
  /** Changes appended, and those that ended, since the start. */
  #appended = 0
  #ended = 0
  #running = false
  readonly #waiters: Waiter[] = []
  #wake: (() => void) | undefined
  #failure: DfsError | undefined
  /** Changes given up since nothing was held back last. */
  #lost = 0

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Nothing is held back. */
  get idle(): boolean {
    return this.#ended === this.#appended
  }

  /** Changes that the server has not confirmed. */
  get length(): number {
    return this.#appended - this.#ended
  }

  /** To be awaited before something is appended; undefined when there is room. */
  room(): Promise<void> | undefined {
    if (this.length < WAITING_MAX) return undefined
    return this.#whenEnded(this.#appended - ROOM_AT)
  }

  append(held: HeldBack): void {
    this.#waiting.push({ ...held, asked: this.#parts.leased.ask() })
    this.#appended++
    if (this.#running) return
    this.#running = true
    void this.#run()
  }

  /** Resolves when everything appended so far has ended; undefined when it has. Does not fail. */
  settle(): Promise<void> | undefined {
    if (this.idle) return undefined
    const settled = this.#whenEnded(this.#appended)
    this.#wake?.()
    return settled
  }

  /** Throws what was answered and could not be kept, once. */
  report(): void {
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure
  }

  #whenEnded(count: number): Promise<void> {
    return new Promise((resolve) => this.#waiters.push({ count, resolve }))
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      if (this.#waiters.length === 0 && this.#waiting.length < limits.nameChangesMax) {
        await this.#pause()
      }
      const batch = this.#waiting.slice(0, togetherIn(this.#waiting))
      this.#waiting = this.#waiting.slice(batch.length)
      await this.#send(batch)
    }
    this.#running = false
    const more = this.#lost - 1
    this.#lost = 0
    if (more > 0) {
      this.#parts.log.error({ changes: more }, 'so many more changes of names could not be kept')
    }
  }

  /** Waits for company; not when somebody waits for the end. */
  async #pause(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, WAIT_MS)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = undefined
  }

  /** Sends changes that take effect together; does not fail. */
  async #send(batch: readonly Waiting[]): Promise<void> {
    const { session, verifier, leased } = this.#parts
    const started = verifier.start()
    try {
      // Somebody may have been about to open it when its name went.
      for (const { change } of batch) await this.#tellHold(lostBy(change))
      const { inodes } = await session.mutate(methods.changeNames, { changes: batch.map(wired) })
      const after = new Map(inodes.map((inode) => [inode.inode, inode]))
      for (const { keys, path, asked } of batch) {
        for (const [number, key] of keys) {
          const inode = after.get(number)
          if (inode === undefined) continue
          verifier.verify(inode, key, started, path)
          leased.learnChanged(asked, inode)
        }
      }
      for (const { change, done } of batch) {
        this.#remember(change, after)
        done?.(after)
      }
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      if (batch.length > 1 && isAnswer(error)) {
        // None took effect: those that can, one by one.
        for (const held of batch) await this.#send([held])
        return
      }
      for (const held of batch) this.#giveUp(held, error)
    }
    this.#end(batch.length)
  }

  #tellHold(inode: number): Promise<void> | undefined {
    return inode === 0 ? undefined : this.#parts.session.tellHolds(inode)
  }

  /** What this device must remember to have seen. */
  #remember(change: HeldBack['change'], after: ReadonlyMap<number, Inode>): void {
    const { session } = this.#parts
    const { birth } = change
    if (birth !== undefined) session.changed(birth.inode, birth.attributes.version)
    const lost = lostBy(change)
    if (lost !== 0 && !after.has(lost)) session.removed(lost)
  }

  #giveUp({ path, failed }: HeldBack, error: DfsError): void {
    this.#parts.leased.forgetAll()
    if (failed !== undefined) {
      failed(error)
      return
    }
    const { log, givenUp } = this.#parts
    givenUp.count++
    if (this.#lost++ === 0) {
      log.error(
        { path, code: error.code, cause: error.message },
        'a change of names that was answered could not be kept; look at the folder again',
      )
    }
    const detail = `a change of ${path}, which was answered, could not be kept: ${error.message}`
    this.#failure ??= new DfsError(error.code, detail, { cause: error })
  }

  #end(count: number): void {
    this.#ended += count
    for (let at = 0; at < this.#waiters.length;) {
      const waiter = this.#waiters[at]
      if (waiter === undefined || waiter.count > this.#ended) {
        at++
        continue
      }
      this.#waiters.splice(at, 1)
      waiter.resolve()
    }
  }
}

/** How many of the first travel together; at least one. */
function togetherIn(waiting: readonly HeldBack[]): number {
  let bytes = 0
  for (const [index, { change }] of waiting.entries()) {
    bytes += (change.birth?.inline.length ?? 0) + (change.birth?.patch.length ?? 0)
    if (index === limits.nameChangesMax || (bytes > CONTENT_BYTES_MAX && index > 0)) return index
  }
  return waiting.length
}

/** The inode that a change takes a name from, 0 for none. */
const lostBy = ({ unlink, rename }: HeldBack['change']): number =>
  unlink?.inode ?? rename?.replaced ?? 0

/** As it travels; the lease is read at each attempt, as it may end in good order in between. */
function wired({ change, term }: HeldBack): NameChange {
  const { birth, unlink, rename } = change
  return {
    get lease() {
      return term.named
    },
    birth,
    unlink,
    rename,
  }
}
