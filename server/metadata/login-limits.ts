/**
 * Slows down guessing of passwords and tokens, without a way to lock an owner out.
 *
 * Token buckets by address and by account; an attempt costs one, success gives it back. An address
 * from which somebody logged in to an account before is not subject to the account's bucket, so
 * strangers who use it up stop only other strangers. Device sessions do not pass here at all.
 */
import { LRUCache } from 'lru-cache'
import { DfsError } from '../../schema/wire/status.ts'
import type { Clock } from './clock.ts'

interface Rate {
  /** Attempts that may come at once. */
  readonly burst: number
  /** Milliseconds in which one more attempt is granted. */
  readonly refillMs: number
}

const BY_ADDRESS: Rate = { burst: 20, refillMs: 3_000 }
const BY_ACCOUNT: Rate = { burst: 10, refillMs: 6_000 }
/** Addresses and accounts remembered. */
const BUCKETS_MAX = 20_000

interface Bucket {
  tokens: number
  atMs: number
}

export class LoginLimits {
  readonly #clock: Clock
  readonly #addresses = new LRUCache<string, Bucket>({ max: BUCKETS_MAX })
  readonly #accounts = new LRUCache<string, Bucket>({ max: BUCKETS_MAX })
  readonly #familiar = new LRUCache<string, true>({ max: BUCKETS_MAX })

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts an attempt; `address` is host:port as seen. Throws `tooManyLogins`. */
  attempt(address: string, account: string): void {
    const host = hostOf(address)
    this.#take(this.#addresses, host, BY_ADDRESS)
    if (this.#familiar.get(familiarity(host, account)) === undefined) {
      this.#take(this.#accounts, account, BY_ACCOUNT)
    }
  }

  /** Counts an attempt with a secret of ours, such as a join token. Throws `tooManyLogins`. */
  attemptFrom(address: string): void {
    this.#take(this.#addresses, hostOf(address), BY_ADDRESS)
  }

  /** What {@link attemptFrom} counted was no guess. */
  passed(address: string): void {
    const bucket = this.#addresses.get(hostOf(address))
    if (bucket !== undefined) bucket.tokens++
  }

  /** The attempt was the owner's. */
  succeeded(address: string, account: string): void {
    const host = hostOf(address)
    this.#familiar.set(familiarity(host, account), true)
    for (const bucket of [this.#addresses.get(host), this.#accounts.get(account)]) {
      if (bucket !== undefined) bucket.tokens++
    }
  }

  #take(buckets: LRUCache<string, Bucket>, key: string, rate: Rate): void {
    const nowMs = this.#clock.nowMs()
    const bucket = buckets.get(key) ?? { tokens: rate.burst, atMs: nowMs }
    const granted = (nowMs - bucket.atMs) / rate.refillMs
    const tokens = Math.min(rate.burst, bucket.tokens + granted)
    if (tokens < 1) {
      const waitSeconds = Math.ceil(((1 - tokens) * rate.refillMs) / 1_000)
      buckets.set(key, { tokens, atMs: nowMs })
      throw new DfsError(
        'tooManyLogins',
        `too many attempts from here or on this account; wait ${waitSeconds} s and try again`,
      )
    }
    buckets.set(key, { tokens: tokens - 1, atMs: nowMs })
  }
}

const familiarity = (host: string, account: string): string => `${host} ${account}`

/** host:port without the port. */
function hostOf(address: string): string {
  const colon = address.lastIndexOf(':')
  return colon < 0 ? address : address.slice(0, colon)
}
