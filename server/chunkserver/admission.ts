/**
 * A budget of bytes that requests share: who cannot have his part yet waits in turn, and when too
 * many wait, the next is refused.
 *
 * A request asks once, for everything it will hold, so requests of one budget never wait for each
 * other while holding a part. No owner (a connection) gets more than half of the budget, and few of
 * its requests wait, so one peer that takes nothing does not hold up the others.
 */
import { DfsError } from '../../schema/wire/status.ts'
import { bounds } from './bounds.ts'

interface Waiter {
  readonly bytes: number
  readonly owner: object
  readonly admit: () => void
}

interface Share {
  heldBytes: number
  waiting: number
}

export class Admission {
  readonly #what: string
  readonly #ownerWaitersMax: number
  readonly #ownerBytesMax: number
  #free: number
  readonly #waiters: Waiter[] = []
  readonly #shares = new WeakMap<object, Share>()

  /** `what` names the requests in errors; `ownerWaitersMax` of one owner may wait. */
  constructor(what: string, bytes: number, ownerWaitersMax: number) {
    this.#what = what
    this.#free = bytes
    this.#ownerBytesMax = bytes / 2
    this.#ownerWaitersMax = ownerWaitersMax
  }

  /**
   * Takes `bytes`, at most half of the budget: at once (undefined), or when others gave theirs back.
   * Throws `tooManyRequests` when too many wait; rejects `cancelled` when `signal` is aborted before.
   */
  acquire(bytes: number, owner: object, signal: AbortSignal): Promise<void> | undefined {
    const share = this.#shareOf(owner)
    if (this.#waiters.length === 0 && this.#fits(bytes, share)) {
      this.#take(bytes, share)
      return undefined
    }
    const tooMany = this.#waiters.length >= bounds.waitingRequestsMax
    if (tooMany || share.waiting >= this.#ownerWaitersMax) {
      throw new DfsError('tooManyRequests', `too many ${this.#what} wait already; repeat it later`)
    }
    return this.#wait(bytes, owner, signal)
  }

  release(bytes: number, owner: object): void {
    this.#free += bytes
    this.#shareOf(owner).heldBytes -= bytes
    this.#admitWaiters()
  }

  #shareOf(owner: object): Share {
    let share = this.#shares.get(owner)
    if (share === undefined) {
      share = { heldBytes: 0, waiting: 0 }
      this.#shares.set(owner, share)
    }
    return share
  }

  #fits(bytes: number, share: Share): boolean {
    return bytes <= this.#free && share.heldBytes + bytes <= this.#ownerBytesMax
  }

  #take(bytes: number, share: Share): void {
    this.#free -= bytes
    share.heldBytes += bytes
  }

  /** In order; only those whose owner has his half already are passed over. */
  #admitWaiters(): void {
    for (let at = 0; at < this.#waiters.length;) {
      const waiter = this.#waiters[at]
      if (waiter === undefined || waiter.bytes > this.#free) return
      const share = this.#shareOf(waiter.owner)
      if (!this.#fits(waiter.bytes, share)) {
        at++
        continue
      }
      this.#waiters.splice(at, 1)
      share.waiting--
      this.#take(waiter.bytes, share)
      waiter.admit()
    }
  }

  #wait(bytes: number, owner: object, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(new DfsError('cancelled', `${this.#what}: given up before it began`))
        return
      }
      const share = this.#shareOf(owner)
      const onAbort = (): void => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        share.waiting--
        this.#admitWaiters()
        reject(new DfsError('cancelled', `${this.#what}: given up while waiting`))
      }
      const waiter: Waiter = {
        bytes,
        owner,
        admit: () => {
          signal.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiters.push(waiter)
      share.waiting++
      // At once, when those before it only wait for their owner's own share.
      this.#admitWaiters()
    })
  }
}
