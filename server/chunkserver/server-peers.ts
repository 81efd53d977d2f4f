/**
 * Connections to other chunkservers: mutual TLS, the other side verified by its id in the cluster.
 * Those not used for long are closed when new ones are needed.
 */
import { LRUCache } from 'lru-cache'
import type { ServerAddress } from '../../schema/generated/common.ts'
import type { Peer, PeerOptions } from '../../schema/quic/api.ts'
import type { Log, TlsIdentity } from '../../schema/rpc/api.ts'
import { bounds } from './bounds.ts'

export interface ServerPeersOptions {
  readonly dialer: { peer(options: PeerOptions): Peer }
  readonly identity: TlsIdentity
  readonly caPem: string
  readonly log: Log
}

interface Known {
  readonly addresses: string
  readonly peer: Peer
}

export class ServerPeers {
  readonly #options: ServerPeersOptions
  readonly #known: LRUCache<number, Known>

  constructor(options: ServerPeersOptions) {
    this.#options = options
    this.#known = new LRUCache<number, Known>({
      max: bounds.serverPeersMax,
      dispose: ({ peer }) => {
        peer.close().catch((error: unknown) => {
          options.log.warn({ err: error }, 'cannot close the connection to a chunkserver')
        })
      },
    })
  }

  /** The connection to a server; a new one when its addresses changed. */
  get({ id, addresses }: ServerAddress): Peer {
    const joined = addresses.join(' ')
    const known = this.#known.get(id)
    if (known !== undefined && known.addresses === joined) return known.peer
    const { dialer, identity, caPem, log } = this.#options
    const serverName = `chunkserver-${id}.dfs`
    const peer = dialer.peer({ addresses, serverName, caPem, identity, log })
    this.#known.set(id, { addresses: joined, peer })
    return peer
  }

  /** Drops a connection that could not be made, so that the next attempt does not wait its back-off. */
  forget(server: ServerAddress): void {
    this.#known.delete(server.id)
  }

  async close(): Promise<void> {
    const peers = [...this.#known.values()].map(({ peer }) => peer)
    this.#known.clear()
    await Promise.all(peers.map((peer) => peer.close()))
  }
}
