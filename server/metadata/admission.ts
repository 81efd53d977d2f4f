/**
 * Lets users' requests in: so many at a time, in turns between users, and no more waiting than there
 * is memory for.
 *
 * Guarantees: a user who asks for little is served in the next turn, however much another one asks
 * for. What one turn of the event loop starts is bounded, so that the network is looked after in
 * between. Beyond the bounds a request is refused with `tooManyRequests`, which clients repeat after
 * growing pauses, and it is refused to who has most waiting. A request whose caller gave up while it
 * waited is not carried out.
 *
 * Chunkservers and the operator do not pass here: they are few and ask for little.
 */
import { performance } from 'node:perf_hooks'
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { RequestTimes, SlowRequests } from './request-times.ts'

export interface AdmissionBounds {
  /** Requests under way at a time, most of them waiting for the disk. */
  readonly running: number
  /** What is started in one turn of the event loop: requests of cost 1, some 50 µs each. */
  readonly costPerTurn: number
  /** Requests that wait: of one user, and of all together. */
  readonly waitingPerUser: number
  readonly waiting: number
  /** Bytes of the messages of all requests that wait or are under way. */
  readonly bytes: number
}

export const admissionBounds: AdmissionBounds = {
  running: 1_024,
  costPerTurn: 32,
  waitingPerUser: 1_024,
  waiting: 8_192,
  bytes: 64 * 1_048_576,
}

/** Milliseconds between lines of the log that tell of refused requests. */
const REFUSED_LINE_MS = 10_000

export interface AdmissionRequest {
  readonly user: number
  readonly method: string
  /** How many times the work of a small read. */
  readonly cost: number
  /** Bytes of its message. */
  readonly bytes: number
  /** Whether nobody waits for its answer any more. */
  readonly abandoned: () => boolean
}

interface Waiting {
  readonly request: AdmissionRequest
  readonly start: () => void
  readonly refuse: (error: DfsError) => void
}

/** What one user has here. */
class Line {
  readonly user: number
  running = 0
  bytes = 0
  #waiting: Waiting[] = []
  #first = 0

  constructor(user: number) {
    this.user = user
  }

  get length(): number {
    return this.#waiting.length - this.#first
  }

  get idle(): boolean {
    return this.running === 0 && this.length === 0
  }

  push(waiting: Waiting): void {
    this.#waiting.push(waiting)
  }

  shift(): Waiting | undefined {
    const waiting = this.#waiting[this.#first]
    if (waiting === undefined) return undefined
    this.#first++
    if (this.#first === this.#waiting.length || this.#first >= COMPACT_AT) {
      this.#waiting = this.#waiting.slice(this.#first)
      this.#first = 0
    }
    return waiting
  }

  /** The last to have come. */
  pop(): Waiting | undefined {
    return this.length === 0 ? undefined : this.#waiting.pop()
  }
}

/** Places at the front of a line that are empty before the array is cut. */
const COMPACT_AT = 256

export class Admission {
  readonly #bounds: AdmissionBounds
  readonly #log: Log
  readonly #slow: SlowRequests
  /** Users who have something here. */
  readonly #lines = new Map<number, Line>()
  /** Lines with requests that wait; whose turn it is stands first. */
  readonly #turns = new Set<Line>()
  #running = 0
  #waiting = 0
  #bytes = 0
  #costLeft: number
  #turnScheduled = false
  #refused = 0
  #refusedLineMs = -Infinity

  constructor(log: Log, bounds: AdmissionBounds = admissionBounds) {
    this.#log = log
    this.#bounds = bounds
    this.#slow = new SlowRequests(log)
    this.#costLeft = bounds.costPerTurn
  }

  /**
   * Runs `work` when its turn comes. Throws `tooManyRequests` instead when there is no room for it, or
   * no longer, `cancelled` when its caller gave up meanwhile, and what `work` throws.
   */
  async run<R>(request: AdmissionRequest, work: (times: RequestTimes) => Promise<R>): Promise<R> {
    const times = new RequestTimes()
    const line = this.#line(request.user)
    if (this.#turns.size === 0 && this.#costLeft > 0 && this.#mayStart(line)) {
      this.#enter(line, request)
    } else {
      await this.#wait(line, request)
      times.waitedMs = performance.now() - times.arrivedMs
    }
    try {
      return await work(times)
    } finally {
      this.#leave(line, request)
      this.#slow.ended(times, request.user, request.method)
    }
  }

  /** Requests that wait now. */
  get waiting(): number {
    return this.#waiting
  }

  #line(user: number): Line {
    let line = this.#lines.get(user)
    if (line === undefined) this.#lines.set(user, (line = new Line(user)))
    return line
  }

  /** One user leaves room for the next, who finds a place at once. */
  #mayStart(line: Line): boolean {
    const share = Math.max(1, Math.floor(this.#bounds.running / (this.#lines.size + 1)))
    return line.running < share && this.#running < this.#bounds.running
  }

  /** Takes a place among the running; its bytes are counted already when it waited. */
  #enter(line: Line, request: AdmissionRequest, counted = false): void {
    if (!counted) {
      line.bytes += request.bytes
      this.#bytes += request.bytes
    }
    line.running++
    this.#running++
    this.#costLeft -= request.cost
    this.#schedule()
  }

  #leave(line: Line, request: AdmissionRequest): void {
    line.running--
    this.#running--
    this.#forget(line, request)
    if (this.#turns.size > 0) this.#schedule()
  }

  #forget(line: Line, { bytes }: AdmissionRequest): void {
    line.bytes -= bytes
    this.#bytes -= bytes
    if (line.idle) this.#lines.delete(line.user)
  }

  #wait(line: Line, request: AdmissionRequest): Promise<void> {
    const refusal = this.#refusal(line, request)
    if (refusal !== undefined) {
      if (line.idle) this.#lines.delete(line.user)
      return Promise.reject(refusal)
    }
    return new Promise((resolve, reject) => {
      line.push({ request, start: resolve, refuse: reject })
      line.bytes += request.bytes
      this.#bytes += request.bytes
      this.#waiting++
      this.#turns.add(line)
      this.#schedule()
    })
  }

  /** Makes room by refusing the last of the longest line; undefined when there is room. */
  #refusal(line: Line, { bytes }: AdmissionRequest): DfsError | undefined {
    const { waiting, waitingPerUser, bytes: bytesMax } = this.#bounds
    if (line.length >= waitingPerUser) return this.#refuse(line, `${line.length} requests wait`)
    if (this.#bytes + bytes > bytesMax && line.bytes > bytesMax / (this.#lines.size + 1)) {
      return this.#refuse(line, `requests of ${line.bytes} bytes wait`)
    }
    if (this.#waiting < waiting) return undefined
    let longest = line
    for (const other of this.#turns) if (other.length > longest.length) longest = other
    const refusal = this.#refuse(longest, `${this.#waiting} requests of all users wait`)
    if (longest === line) return refusal
    const last = longest.pop()
    if (last !== undefined) {
      this.#waiting--
      if (longest.length === 0) this.#turns.delete(longest)
      this.#forget(longest, last.request)
      last.refuse(refusal)
    }
    return undefined
  }

  #refuse({ user }: Line, why: string): DfsError {
    this.#refused++
    const nowMs = performance.now()
    if (nowMs - this.#refusedLineMs >= REFUSED_LINE_MS) {
      this.#refusedLineMs = nowMs
      this.#log.warn(
        { user, refused: this.#refused, why },
        'more is asked than this server can do: requests are refused, and come again later',
      )
      this.#refused = 0
    }
    return new DfsError('tooManyRequests', `the metadata server is busy: ${why}; try again`)
  }

  #schedule(): void {
    if (this.#turnScheduled) return
    this.#turnScheduled = true
    setImmediate(() => {
      this.#turnScheduled = false
      this.#turn()
    })
  }

  /** Starts what the bounds allow, one request of each user after the other. */
  #turn(): void {
    this.#costLeft = this.#bounds.costPerTurn
    let full = 0
    for (const line of this.#turns) {
      if (this.#costLeft <= 0) break
      this.#turns.delete(line)
      if (this.#mayStart(line)) {
        this.#startFirst(line)
        full = 0
      } else {
        full++
      }
      // Behind all others, and in this loop again.
      if (line.length > 0) this.#turns.add(line)
      if (full > 0 && full >= this.#turns.size) return
    }
    if (this.#turns.size > 0) this.#schedule()
  }

  #startFirst(line: Line): void {
    const first = line.shift()
    if (first === undefined) return
    this.#waiting--
    if (first.request.abandoned()) {
      this.#forget(line, first.request)
      first.refuse(new DfsError('cancelled', 'the caller gave the request up while it waited'))
      return
    }
    this.#enter(line, first.request, true)
    first.start()
  }
}
