/**
 * Finds how large a datagram the path carries: times and answers in, sizes to try out. No I/O.
 *
 * Starts at the size that every QUIC path carries and asks about all larger candidates at once; the
 * largest that is answered is used. While a larger size is in use it is asked about again, soon when
 * the connection hears nothing: several questions without an answer mean that the path has shrunk,
 * and the search starts anew from the safe size. Questions travel beside QUIC, so a lost one is not
 * taken for congestion.
 */
import { quicLimits } from './limits.ts'

/** Datagram sizes worth trying, bytes: Ethernet and jumbo frames less IPv6 and UDP headers, ... */
const CANDIDATES = [1_352, 1_452, 1_472, 4_048, 8_952, 8_972, quicLimits.datagramBytesMax] as const
/** Questions about a size before it counts as unusable. */
const TRIES_MAX = 4
/** Milliseconds between questions at least; three round trips if that is more. */
const INTERVAL_MS_MIN = 100
/** Milliseconds between looks whether the path still carries the size in use. */
const VERIFY_MS = 1_000
/** Milliseconds until sizes that did not pass are tried again: paths get better, rarely. */
const SEARCH_AGAIN_MS = 60_000

export interface Probe {
  readonly nonce: number
  readonly size: number
}

export interface PathProbeOptions {
  /** Largest size that both interfaces take, bytes. */
  readonly max: number
  readonly nowMs: number
  /** Numbers that an outsider cannot guess, u32. */
  readonly nonce: () => number
}

export class PathProbe {
  /** Bytes of the datagrams to send now. */
  size: number = quicLimits.datagramBytesMin
  /** When `expire` is to be called. */
  wakeAtMs: number
  readonly #sizes: readonly number[]
  readonly #nonce: () => number
  readonly #asked = new Map<number, Probe>()
  #mode: 'searching' | 'settled' | 'verifying' = 'searching'
  #tries = 0
  #verifyAtMs = Infinity
  #searchAgainAtMs = Infinity

  constructor({ max, nowMs, nonce }: PathProbeOptions) {
    this.#sizes = [...CANDIDATES.filter((size) => size < max), max].filter(
      (size) => size > quicLimits.datagramBytesMin,
    )
    this.#nonce = nonce
    this.wakeAtMs = this.#sizes.length === 0 ? Infinity : nowMs
  }

  /** What to ask now, given the smoothed round-trip time. */
  expire(nowMs: number, rttMs: number): Probe[] {
    if (nowMs < this.wakeAtMs) return []
    const intervalMs = Math.max(INTERVAL_MS_MIN, 3 * rttMs)
    if (this.#tries >= TRIES_MAX) {
      this.#giveUp(nowMs)
      return []
    }
    if (this.#mode === 'settled') {
      this.#mode = nowMs >= this.#searchAgainAtMs ? 'searching' : 'verifying'
    }
    this.#tries++
    this.wakeAtMs = nowMs + intervalMs
    return this.#mode === 'verifying'
      ? [this.#ask(this.size)]
      : this.#larger().map((size) => this.#ask(size))
  }

  /** An answer arrived. True when the size to use has changed. */
  seen({ nonce, size }: Probe, nowMs: number): boolean {
    if (this.#asked.get(nonce)?.size !== size) return false
    if (this.#mode === 'verifying') {
      if (size === this.size) this.#settle(nowMs)
      return false
    }
    if (size <= this.size) return false
    this.size = size
    if (this.#larger().length === 0) this.#settle(nowMs)
    return true
  }

  /** Datagrams are being sent. Worth calling while `wakeAtMs` is Infinity. */
  used(nowMs: number): void {
    if (this.#mode !== 'settled') return
    const dueMs = Math.min(this.#verifyAtMs, this.#searchAgainAtMs)
    if (dueMs !== Infinity) this.wakeAtMs = Math.max(nowMs, dueMs)
  }

  /** The connection hears nothing though it should: look now whether large datagrams still pass. */
  suspect(nowMs: number): void {
    if (this.#mode !== 'settled' || this.size === quicLimits.datagramBytesMin) return
    this.#mode = 'verifying'
    this.#tries = 0
    this.wakeAtMs = nowMs
  }

  #giveUp(nowMs: number): void {
    if (this.#mode === 'verifying') {
      this.size = quicLimits.datagramBytesMin
      this.#mode = 'searching'
      this.#tries = 0
      this.#asked.clear()
      this.wakeAtMs = nowMs
      return
    }
    this.#searchAgainAtMs = nowMs + SEARCH_AGAIN_MS
    this.#settle(nowMs)
  }

  /** Nothing is asked until datagrams are sent again: an idle connection costs nothing. */
  #settle(nowMs: number): void {
    if (this.#larger().length === 0) this.#searchAgainAtMs = Infinity
    this.#verifyAtMs = this.size > quicLimits.datagramBytesMin ? nowMs + VERIFY_MS : Infinity
    this.#mode = 'settled'
    this.#tries = 0
    this.#asked.clear()
    this.wakeAtMs = Infinity
  }

  #larger(): number[] {
    return this.#sizes.filter((size) => size > this.size)
  }

  #ask(size: number): Probe {
    const probe = { nonce: this.#nonce(), size }
    this.#asked.set(probe.nonce, probe)
    return probe
  }
}
