/**
 * A rate in bytes a second that several transfers share: each waits until what was taken before it
 * has had its time. Nothing is saved up while nobody takes anything.
 */
export class RateLimit {
  readonly #bytesPerSecond: number
  /** When everything taken so far has had its time, by performance.now(). */
  #freeAtMs = 0

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond
  }

  /** Takes `bytes` and waits for their time; ends early when `signal` is aborted. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const nowMs = performance.now()
    const waitMs = Math.max(0, this.#freeAtMs - nowMs)
    this.#freeAtMs = nowMs + waitMs + (bytes * 1_000) / this.#bytesPerSecond
    if (waitMs < 1 || signal.aborted) return
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', finish)
        resolve()
      }
      const timer = setTimeout(finish, waitMs)
      signal.addEventListener('abort', finish, { once: true })
    })
  }
}
