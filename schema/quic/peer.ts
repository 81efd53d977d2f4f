/**
 * A server that we talk to: connects when first needed, and again when the connection was lost.
 *
 * The addresses are tried in order, each getting a head start before the next joins in; the first
 * that completes its handshake wins. The one that served last goes first, those that refused us last. When all failed, whoever waits is told which address failed how,
 * and the next attempt is put off, longer each time and by a random part, so that a thousand clients
 * do not return at the same moment. A call never waits beyond its own deadline.
 */
import type { Call, CallOptions, Connection, Method, TlsIdentity } from '../rpc/api.ts'
import { MethodTable } from '../rpc/method-table.ts'
import { invariant } from '../wire/invariant.ts'
import { DfsError } from '../wire/status.ts'
import type { Peer, PeerOptions } from './api.ts'
import type { QuicConnection } from './connection.ts'
import type { Dialer } from './dialer.ts'

/** Milliseconds for one address to complete its handshake. */
const ATTEMPT_MS = 5_000
/** Milliseconds before the next address is tried beside those under way. */
const HEAD_START_MS = 400
const BACKOFF_MS_MIN = 100
const BACKOFF_MS_MAX = 5_000
/** Failures that another attempt would only repeat. */
const HOPELESS = new Set(['serverUntrusted', 'versionMismatch', 'forbidden', 'invalidArgument'])

interface Attempt {
  readonly connection: QuicConnection
  readonly address: string
}

export class QuicPeer implements Peer {
  readonly #dialer: Dialer
  readonly #options: PeerOptions
  readonly #methods: MethodTable
  readonly #onClosed: () => void
  #live: QuicConnection | undefined
  /** Worn connections that finish their last requests. */
  readonly #retired = new Set<QuicConnection>()
  #connecting: Promise<QuicConnection> | undefined
  readonly #abort = new AbortController()
  /** The address that served last, and those that would not serve us since. */
  #serving: string | undefined
  readonly #refusing = new Set<string>()
  /** Rounds that failed in a row. */
  #failures = 0
  #notBeforeMs = 0

  constructor(dialer: Dialer, options: PeerOptions, onClosed: () => void) {
    invariant(addressesOf(options).length > 0, 'a peer has an address')
    const service = options.service ?? new MethodTable()
    invariant(service instanceof MethodTable, 'a service is a MethodTable')
    this.#dialer = dialer
    this.#options = options
    this.#methods = service
    this.#onClosed = onClosed
  }

  get connection(): Connection | undefined {
    return this.#live
  }

  call<Q, R>(method: Method<Q, R>, request: Q, options?: CallOptions): Promise<R> {
    const live = this.#current()
    if (live !== undefined) return live.call(method, request, options)
    return this.#callLater(method, request, options)
  }

  async open<Q, R>(method: Method<Q, R>, request: Q, options?: CallOptions): Promise<Call<R>> {
    const live = this.#current()
    if (live !== undefined) return live.open(method, request, options)
    const { connection, rest } = await this.#wait(method, options)
    return connection.open(method, request, rest)
  }

  async close(): Promise<void> {
    this.#onClosed()
    if (!this.#abort.signal.aborted) this.#abort.abort(closedByUs())
    const live = this.#live
    this.#live = undefined
    await Promise.all([live, ...this.#retired].map(async (connection) => connection?.close()))
  }

  #current(): QuicConnection | undefined {
    const live = this.#live
    if (live === undefined || !live.worn) return live
    this.#live = undefined
    this.#retired.add(live)
    void live.closed.then(() => this.#retired.delete(live))
    live.retire()
    return undefined
  }

  async #callLater<Q, R>(method: Method<Q, R>, request: Q, options?: CallOptions): Promise<R> {
    const { connection, rest } = await this.#wait(method, options)
    return connection.call(method, request, rest)
  }

  /** The connection, and what is left of the call's deadline. */
  async #wait<Q, R>(
    method: Method<Q, R>,
    options: CallOptions | undefined,
  ): Promise<{ connection: QuicConnection; rest: CallOptions }> {
    const deadlineMs = options?.deadlineMs ?? method.deadlineMs
    const signal = options?.signal
    const started = performance.now()
    const connection = await this.#within(deadlineMs, signal, method.name)
    const left = Math.max(1, deadlineMs - (performance.now() - started))
    const rest: CallOptions = { deadlineMs: left, ...(signal === undefined ? {} : { signal }) }
    return { connection, rest }
  }

  #within(
    deadlineMs: number,
    signal: AbortSignal | undefined,
    name: string,
  ): Promise<QuicConnection> {
    return new Promise((resolve, reject) => {
      const cancel = (): void => {
        done()
        reject(new DfsError('cancelled', `${name} was cancelled by its caller`))
      }
      const timer = setTimeout(() => {
        done()
        reject(
          new DfsError(
            'connectionRefused',
            `${name}: no connection with ${addressesOf(this.#options).join(', ')} within ${deadlineMs} ms`,
          ),
        )
      }, deadlineMs)
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', cancel)
      }
      if (signal?.aborted === true) {
        cancel()
        return
      }
      signal?.addEventListener('abort', cancel, { once: true })
      this.#connect().finally(done).then(resolve, reject)
    })
  }

  #connect(): Promise<QuicConnection> {
    if (this.#abort.signal.aborted) return Promise.reject(closedByUs())
    if (this.#connecting === undefined) {
      this.#connecting = this.#round().finally(() => {
        this.#connecting = undefined
      })
      // Everybody who waited may have given up by the time it fails.
      this.#connecting.catch(() => undefined)
    }
    return this.#connecting
  }

  async #round(): Promise<QuicConnection> {
    const delay = this.#notBeforeMs - performance.now()
    if (delay > 0) await pause(delay, this.#abort.signal)
    try {
      const { connection, address } = await this.#race()
      await this.#introduce(connection, address)
      this.#failures = 0
      this.#live = connection
      void connection.closed.then(() => {
        if (this.#live === connection) this.#live = undefined
      })
      return connection
    } catch (error) {
      this.#putOff()
      throw error
    }
  }

  async #introduce(connection: QuicConnection, address: string): Promise<void> {
    try {
      await this.#options.onConnected?.(connection)
      this.#serving = address
      this.#refusing.delete(address)
    } catch (error) {
      if (this.#serving === address) this.#serving = undefined
      this.#refusing.add(address)
      await connection.close()
      throw error
    }
    if (connection.over) {
      throw new DfsError(
        'connectionLost',
        `${connection.peer.address} closed the connection at once`,
      )
    }
    if (this.#abort.signal.aborted) {
      await connection.close()
      throw closedByUs()
    }
  }

  #identity(): TlsIdentity | undefined {
    const { identity } = this.#options
    return typeof identity === 'function' ? identity() : identity
  }

  #putOff(): void {
    this.#failures++
    const longest = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(this.#failures, 10))
    this.#notBeforeMs = performance.now() + longest * (0.5 + Math.random() / 2)
  }

  #ordered(): readonly string[] {
    const addresses = addressesOf(this.#options)
    const rank = (address: string): number =>
      address === this.#serving ? 0 : this.#refusing.has(address) ? 2 : 1
    const refusing = addresses.filter((address) => this.#refusing.has(address))
    // When all have refused, none is worse than another.
    if (refusing.length === addresses.length) this.#refusing.clear()
    return [...addresses].sort((a, b) => rank(a) - rank(b))
  }

  /** All addresses, staggered; the first connection wins and the others are given up. */
  async #race(): Promise<Attempt> {
    const losers = new AbortController()
    const giveUp = (): void => losers.abort()
    this.#abort.signal.addEventListener('abort', giveUp, { once: true })
    const failures: string[] = []
    let hopeless: DfsError | undefined
    const addresses = this.#ordered()
    const attempts = addresses.map(async (address, index) => {
      if (index > 0) await pause(index * HEAD_START_MS, losers.signal)
      try {
        const connection = await this.#dialer.connect(address, {
          serverName: this.#options.serverName,
          caPem: this.#options.caPem,
          identity: this.#identity(),
          methods: this.#methods,
          log: this.#options.log,
          timeoutMs: ATTEMPT_MS,
          signal: losers.signal,
        })
        return { connection, address }
      } catch (error) {
        failures.push(`${address}: ${error instanceof Error ? error.message : String(error)}`)
        if (error instanceof DfsError && HOPELESS.has(error.code)) hopeless ??= error
        throw error
      }
    })
    let winner: Attempt | undefined
    try {
      winner = await Promise.any(attempts)
      return winner
    } catch {
      if (this.#abort.signal.aborted) throw closedByUs()
      if (hopeless !== undefined) throw hopeless
      throw new DfsError('connectionRefused', `no server reached; ${failures.join('; ')}`)
    } finally {
      this.#abort.signal.removeEventListener('abort', giveUp)
      losers.abort()
      for (const attempt of attempts) {
        attempt.then(
          (done) => (done === winner ? undefined : done.connection.closeWith(0, '')),
          () => undefined,
        )
      }
    }
  }
}

function addressesOf({ addresses }: PeerOptions): readonly string[] {
  return typeof addresses === 'function' ? addresses() : addresses
}

function closedByUs(): DfsError {
  return new DfsError('shuttingDown', 'this side closed the connection to the server')
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(new DfsError('cancelled', 'no longer needed'))
      return
    }
    const stop = (): void => {
      clearTimeout(timer)
      reject(new DfsError('cancelled', 'no longer needed'))
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal.addEventListener('abort', stop, { once: true })
  })
}
