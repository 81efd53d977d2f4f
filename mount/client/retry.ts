/**
 * Repeating what failed for a passing reason: with exponentially growing pauses and full jitter, so
 * that many clients do not come back in step, and never beyond a deadline.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { DfsError } from '../../schema/wire/status.ts'

/** Milliseconds of the first pause at most, and of any pause. */
const PAUSE_FIRST_MS = 25
const PAUSE_MAX_MS = 1_000

export interface RetryOptions {
  /** What is tried, for the error of whoever gives up. */
  readonly what: string
  /** Milliseconds from now until giving up. */
  readonly deadlineMs: number
  /** Whether a failure may pass; what is no DfsError is a bug and never repeated. */
  readonly passing: (error: DfsError) => boolean
  /** Ends the pauses too: with `cancelled`. */
  readonly signal: AbortSignal
}

/**
 * Runs `attempt`, given the milliseconds that are left, until it succeeds, fails for good, or the
 * deadline passes; then throws the last error with how long it was tried.
 */
export async function retried<T>(
  options: RetryOptions,
  attempt: (leftMs: number) => Promise<T>,
): Promise<T> {
  const { what, deadlineMs, passing, signal } = options
  const endMs = performance.now() + deadlineMs
  for (let failures = 0; ; failures++) {
    try {
      return await attempt(endMs - performance.now())
    } catch (error) {
      if (!(error instanceof DfsError) || !passing(error)) throw error
      const pause = pauseMs(failures)
      if (performance.now() + pause >= endMs) {
        const detail = `${what}: ${error.message} (given up after ${failures + 1} tries in ${deadlineMs} ms)`
        throw new DfsError(error.code, detail, { cause: error })
      }
      await pauseFor(pause, signal, what)
    }
  }
}

/** Milliseconds to wait after the given number of failures before this one; random up to a growing bound. */
export function pauseMs(failures: number): number {
  return Math.random() * Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** Math.min(failures, 16))
}

/** Waits. Throws `cancelled` as soon as `signal` aborts. */
export async function pauseFor(ms: number, signal: AbortSignal, what: string): Promise<void> {
  try {
    await sleep(ms, undefined, { signal })
  } catch (cause) {
    throw new DfsError('cancelled', `${what}: given up by its caller`, { cause })
  }
}
