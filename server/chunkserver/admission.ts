/**
 * A budget of bytes that requests share: who cannot have his part yet waits in turn, and when too
 * many wait, the next is refused.
 *
 * A request asks once, for everything it will hold, so requests of one budget never wait for each
 * other while holding a part.
 */
import { DfsError } from '../../schema/wire/status.ts'

interface Waiter {
  readonly bytes: number
  readonly admit: () => void
}

export class Admission {
  readonly #what: string
  readonly #waitersMax: number
  #free: number
  readonly #waiters: Waiter[] = []

  /** `what` names the requests in errors. */
  constructor(what: string, bytes: number, waitersMax: number) {
    this.#what = what
    this.#free = bytes
    this.#waitersMax = waitersMax
  }

  /**
   * Takes `bytes`, at once (undefined) or when others gave theirs back. Throws `tooManyRequests`
   * when too many wait, `cancelled` when `signal` is aborted before.
   */
  acquire(bytes: number, signal: AbortSignal): Promise<void> | undefined {
    if (this.#waiters.length === 0 && bytes <= this.#free) {
      this.#free -= bytes
      return undefined
    }
    if (this.#waiters.length >= this.#waitersMax) {
      throw new DfsError(
        'tooManyRequests',
        `${this.#waiters.length} ${this.#what} wait already; repeat it later`,
      )
    }
    return this.#wait(bytes, signal)
  }

  release(bytes: number): void {
    this.#free += bytes
    this.#admitWaiters()
  }

  #admitWaiters(): void {
    for (;;) {
      const first = this.#waiters[0]
      if (first === undefined || first.bytes > this.#free) return
      this.#waiters.shift()
      this.#free -= first.bytes
      first.admit()
    }
  }

  #wait(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        this.#admitWaiters()
        reject(new DfsError('cancelled', `${this.#what}: given up while waiting`))
      }
      const waiter: Waiter = {
        bytes,
        admit: () => {
          signal.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      if (signal.aborted) {
        reject(new DfsError('cancelled', `${this.#what}: given up before it began`))
        return
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiters.push(waiter)
    })
  }
}
