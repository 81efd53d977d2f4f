/**
 * Finds out early that a server is gone without having said so: killed, restarted, cut off.
 *
 * QUIC itself waits for its idle limit, during which requests hang. When answers stay away for a few
 * seconds, the server is asked whether it is there; when it does not answer that either, the
 * connection is closed, so that what waits on it fails at once and is repeated on a new one.
 */
import { performance } from 'node:perf_hooks'
import { methods } from '../../schema/methods.ts'
import type { Peer } from '../../schema/quic/api.ts'
import type { Connection, Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'

/** Milliseconds without any answer, with requests waiting, after which the server is asked. */
export const SILENCE_MS = 2_500
const LOOK_MS = 500

const probed = new WeakSet<Connection>()

/** Asks the server at the other end of the peer's connection; closes it when nothing comes back. */
export async function probe(peer: Peer, log: Log): Promise<void> {
  const { connection } = peer
  if (connection === undefined || probed.has(connection)) return
  probed.add(connection)
  try {
    await connection.call(methods.ping, {})
  } catch (error) {
    const silent = error instanceof DfsError && error.code === 'deadlineExceeded'
    if (!silent) return
    log.warn({ address: connection.peer.address }, 'the server is silent: connecting again')
    await connection.close()
  } finally {
    probed.delete(connection)
  }
}

/** Watches one peer's requests; says nothing while there are none. */
export class Liveness {
  readonly #log: Log
  readonly #peer: () => Peer
  #waiting = 0
  #answeredMs = 0
  #timer: NodeJS.Timeout | undefined

  constructor(peer: () => Peer, log: Log) {
    this.#peer = peer
    this.#log = log
  }

  /** A request was sent; {@link ended} follows. */
  began(): void {
    if (this.#waiting === 0) this.#answeredMs = performance.now()
    this.#waiting++
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS)
  }

  /** It was answered, or failed. */
  ended(): void {
    this.#waiting--
    this.#answeredMs = performance.now()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    if (this.#waiting === 0) {
      this.stop()
      return
    }
    if (performance.now() - this.#answeredMs < SILENCE_MS) return
    probe(this.#peer(), this.#log).catch((error: unknown) => {
      this.#log.warn({ err: error }, 'closing a silent connection failed')
    })
  }
}
