/**
 * The lease of the user's tree as this session knows it: whether what was cached may be trusted, and
 * what becomes of what was made under it. No I/O; time is asked for.
 *
 * A lease ends in good order when it is recalled and everything held back has been sent, or when the
 * server was started anew: then what was made under it may still be sent as anything else. It is
 * lost when the server took it away without our answer: then what was made under it is refused.
 * Caches are trusted only while the server was heard from lately, so that a process that was stopped,
 * or cut off, does not answer from the past before it learns that the lease is gone.
 */
import type { OpenSessionResponse } from '../../schema/generated/metadata.ts'
import { limits } from '../../schema/wire/limits.ts'

/** Milliseconds for which an answer of the server vouches for the lease. */
const TRUST_MS = limits.leaseTermMs / 2

/** One time of holding the lease. */
export class LeaseTerm {
  readonly id: number
  state: 'held' | 'recalled' | 'ended' | 'lost' = 'held'

  constructor(id: number) {
    this.id = id
  }

  /** What a request names that was made under it: 0 when that does not matter any more. */
  get named(): number {
    return this.state === 'ended' ? 0 : this.id
  }
}

/** Called when the lease is recalled; resolves when everything held back was sent, or given up. */
export type Recalled = () => Promise<void>

export class Lease {
  readonly #nowMs: () => number
  #recalled: Recalled = async () => undefined
  #current: LeaseTerm | undefined
  #boot = ''
  #heardMs = -Infinity
  /** A recall may overtake the answer that gives the lease. */
  #recalledUpTo = 0
  #recalling: Promise<void> | undefined

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
  }

  /** The lease, while it is held and not being recalled. */
  get term(): LeaseTerm | undefined {
    return this.#current?.state === 'held' ? this.#current : undefined
  }

  /** As {@link term}, and the server was heard from so lately that nobody else can have it. */
  get fresh(): LeaseTerm | undefined {
    return this.#nowMs() - this.#heardMs < TRUST_MS ? this.term : undefined
  }

  /** Who holds things back. */
  onRecall(recalled: Recalled): void {
    this.#recalled = recalled
  }

  /** The server answered a request that was sent then. */
  heard(sentMs: number): void {
    if (sentMs > this.#heardMs) this.#heardMs = sentMs
  }

  disconnected(): void {
    this.#heardMs = -Infinity
  }

  /** The server's answer to openSession, sent at `sentMs`. */
  opened({ lease, boot }: Pick<OpenSessionResponse, 'lease' | 'boot'>, sentMs: number): void {
    const known = this.#current
    const start = Buffer.from(boot).toString('hex')
    if (known === undefined || known.id !== lease || start !== this.#boot) {
      if (known !== undefined) this.#end(known, start === this.#boot ? 'lost' : 'ended')
      this.granted(lease)
    }
    this.#boot = start
    this.heard(sentMs)
  }

  /** The server gave this session the lease. */
  granted(lease: number): void {
    if (lease <= this.#recalledUpTo || lease === this.#current?.id) return
    if (this.#current !== undefined) this.#end(this.#current, 'lost')
    this.#current = new LeaseTerm(lease)
    // How long the grant was under way is not known.
    this.#heardMs = -Infinity
  }

  /** Somebody else wants the tree. Resolves when they may have it. */
  async recalled(lease: number): Promise<void> {
    this.#recalledUpTo = Math.max(this.#recalledUpTo, lease)
    if (this.#current?.id !== lease) return
    this.#recalling ??= this.#recall(this.#current).finally(() => {
      this.#recalling = undefined
    })
    await this.#recalling
  }

  async #recall(term: LeaseTerm): Promise<void> {
    term.state = 'recalled'
    await this.#recalled()
    if (this.#current === term) this.#end(term, 'ended')
  }

  #end(term: LeaseTerm, state: 'ended' | 'lost'): void {
    term.state = state
    this.#current = undefined
  }
}
