/**
 * Connections to other chunkservers: mutual TLS, the other side verified by its id in the cluster.
 * Those not used for long are closed when new ones are needed.
 */
import { LRUCache } from 'lru-cache'
import type { ServerAddress } from '../../schema/generated/common.ts'
import type { Peer, PeerOptions } from '../../schema/quic/api.ts'
import { methods } from '../../schema/methods.ts'
import type { Connection, Log, TlsIdentity } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
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
  /** Connections that are being asked. */
  readonly #asked = new WeakSet<Connection>()
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

  /**
   * A server gives no sign: asks it whether it is there, and closes the connection when it does not
   * answer that either, so that what waits on it fails at once.
   */
  suspect({ id }: ServerAddress): void {
    const connection = this.#known.peek(id)?.peer.connection
    if (connection === undefined || this.#asked.has(connection)) return
    this.#asked.add(connection)
    this.#ask(connection).catch((error: unknown) => {
      this.#options.log.warn({ err: error, server: id }, 'cannot close a silent connection')
    })
  }

  async #ask(connection: Connection): Promise<void> {
    try {
      await connection.call(methods.ping, {})
    } catch (error) {
      if (!(error instanceof DfsError) || error.code !== 'deadlineExceeded') return
      const { address } = connection.peer
      this.#options.log.warn({ address }, 'a chunkserver is silent: closing its connection')
      await connection.close()
    } finally {
      this.#asked.delete(connection)
    }
  }

  async close(): Promise<void> {
    const peers = [...this.#known.values()].map(({ peer }) => peer)
    this.#known.clear()
    await Promise.all(peers.map((peer) => peer.close()))
  }
}
