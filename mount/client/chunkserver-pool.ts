/**
 * Connections to chunkservers: one each, over the process's one dialer, made when first needed. The
 * least recently used are closed when there are too many.
 */
import type { ServerAddress } from '../../schema/generated/common.ts'
import type { Peer } from '../../schema/quic/api.ts'
import type { Dialer } from '../../schema/quic/dialer.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { probe } from './liveness.ts'
import { chunkserverName } from './server-names.ts'

/** Chunkservers to which a connection is kept. */
const PEERS_MAX = 256

interface Pooled {
  readonly peer: Peer
  /** Joined, to see whether the server has moved. */
  readonly addresses: string
}

export class ChunkserverPool {
  readonly #dialer: Dialer
  readonly #caPem: string
  readonly #log: Log
  /** In order of use, the least recent first. */
  readonly #peers = new Map<number, Pooled>()

  constructor(options: { dialer: Dialer; caPem: string; log: Log }) {
    this.#dialer = options.dialer
    this.#caPem = options.caPem
    this.#log = options.log
  }

  /** The peer for a server, at the addresses that the metadata server named last. */
  peer({ id, addresses }: ServerAddress): Peer {
    const joined = addresses.length === 1 ? (addresses[0] ?? '') : addresses.join(' ')
    const known = this.#peers.get(id)
    if (known !== undefined) this.#peers.delete(id)
    if (known !== undefined && known.addresses === joined) {
      this.#peers.set(id, known)
      return known.peer
    }
    if (known !== undefined) this.#discard(known)
    const peer = this.#dialer.peer({
      addresses,
      serverName: chunkserverName(id),
      caPem: this.#caPem,
      log: this.#log,
    })
    this.#peers.set(id, { peer, addresses: joined })
    this.#trim()
    return peer
  }

  /** The server takes or sends nothing: finds out whether it is gone. */
  suspect(id: number): void {
    const pooled = this.#peers.get(id)
    if (pooled === undefined) return
    probe(pooled.peer, this.#log).catch((error: unknown) => {
      this.#log.warn({ err: error, server: id }, 'closing a silent connection failed')
    })
  }

  async close(): Promise<void> {
    const all = [...this.#peers.values()]
    this.#peers.clear()
    await Promise.all(all.map(async ({ peer }) => peer.close()))
  }

  #trim(): void {
    for (const [id, pooled] of this.#peers) {
      if (this.#peers.size <= PEERS_MAX) return
      this.#peers.delete(id)
      this.#discard(pooled)
    }
  }

  #discard({ peer, addresses }: Pooled): void {
    peer.close().catch((error: unknown) => {
      this.#log.warn({ err: error, addresses }, 'closing a connection failed')
    })
  }
}
