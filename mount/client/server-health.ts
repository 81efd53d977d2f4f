/**
 * What this client has seen of each chunkserver: how long answers take, what is under way there, and
 * whether it failed a moment ago. From that: which replica to read first, when an answer is late, and
 * which servers to leave out of new plans.
 */
import { performance } from 'node:perf_hooks'

/** Weight of the newest answer in a server's average. */
const NEWEST_WEIGHT = 0.2
/** Milliseconds for which a failure counts; each further one in a row doubles it. */
const FAILURE_MS = 2_000
const FAILURE_MS_MAX = 60_000
/** Milliseconds assumed of a server that has not answered yet. */
const UNKNOWN_MS = 5

/** An answer is late after this multiple of the usual time, within these bounds in milliseconds. */
const LATE_FACTOR = 4
const LATE_MS_MIN = 150
export const LATE_MS_MAX = 1_000
/** Answers over which the median is taken, and how many there must be. */
const SAMPLES_MAX = 64
const SAMPLES_MIN = 8

interface Seen {
  failedMs: number
  answerMs: number
  underWay: number
  failures: number
  failingUntilMs: number
}

export class ServerHealth {
  readonly #servers = new Map<number, Seen>()
  readonly #samples: number[] = []
  #nextSample = 0
  #lateMs = LATE_MS_MAX

  /** A request to the server begins; {@link failed} or {@link ended} follows. */
  began(server: number): void {
    this.#seen(server).underWay++
  }

  /** It began to answer a read after `ms` milliseconds. */
  answered(server: number, ms: number): void {
    const seen = this.#seen(server)
    seen.failures = 0
    seen.failingUntilMs = 0
    seen.answerMs += (ms - seen.answerMs) * NEWEST_WEIGHT
    this.#sample(ms)
  }

  /** It failed in a way that the next request would meet too. */
  failed(server: number): void {
    const seen = this.#seen(server)
    seen.underWay--
    const ms = Math.min(FAILURE_MS_MAX, FAILURE_MS * 2 ** Math.min(seen.failures, 16))
    seen.failures++
    seen.failedMs = performance.now()
    seen.failingUntilMs = seen.failedMs + ms
  }

  /** The request is over, without a failure that says something about the server. */
  ended(server: number): void {
    this.#seen(server).underWay--
  }

  isFailing(server: number): boolean {
    const seen = this.#servers.get(server)
    return seen !== undefined && seen.failingUntilMs > performance.now()
  }

  /** Whether it failed since a moment of performance.now(). */
  failedSince(server: number, ms: number): boolean {
    return (this.#servers.get(server)?.failedMs ?? -Infinity) > ms
  }

  /** Servers that failed a moment ago. */
  failing(): number[] {
    return [...this.#servers.keys()].filter((server) => this.isFailing(server))
  }

  /** Gives all servers another chance: there are too few without them. */
  forgive(): void {
    for (const seen of this.#servers.values()) seen.failingUntilMs = 0
  }

  /** The servers in the order in which to try them. */
  ordered(servers: readonly number[]): number[] {
    if (servers.length < 2) return [...servers]
    const nowMs = performance.now()
    const cost = new Map(servers.map((server) => [server, this.#cost(server, nowMs)]))
    return [...servers].sort((a, b) => (cost.get(a) ?? 0) - (cost.get(b) ?? 0))
  }

  /** Milliseconds without progress after which another replica is asked as well. */
  get lateMs(): number {
    return this.#lateMs
  }

  #cost(server: number, nowMs: number): number {
    const seen = this.#servers.get(server)
    // The random part spreads readers over replicas that are as good as each other.
    const spread = 1 + Math.random() * 0.25
    if (seen === undefined) return UNKNOWN_MS * spread
    const failing = seen.failingUntilMs > nowMs ? 1e6 * seen.failures : 0
    return failing + (seen.answerMs + 1) * (1 + seen.underWay) * spread
  }

  #seen(server: number): Seen {
    let seen = this.#servers.get(server)
    if (seen === undefined) {
      seen = {
        failedMs: -Infinity,
        answerMs: UNKNOWN_MS,
        underWay: 0,
        failures: 0,
        failingUntilMs: 0,
      }
      this.#servers.set(server, seen)
    }
    return seen
  }

  #sample(ms: number): void {
    this.#samples[this.#nextSample] = ms
    this.#nextSample = (this.#nextSample + 1) % SAMPLES_MAX
    if (this.#samples.length < SAMPLES_MIN || this.#nextSample % SAMPLES_MIN !== 0) return
    const sorted = [...this.#samples].sort((a, b) => a - b)
    const median = sorted[sorted.length >> 1] ?? LATE_MS_MAX
    this.#lateMs = Math.min(LATE_MS_MAX, Math.max(LATE_MS_MIN, LATE_FACTOR * median))
  }
}
