/**
 * Opens the store of a profile: a session with the metadata server, and the chunks.
 */
import { Dialer } from '../../schema/quic/dialer.ts'
import type { Log } from '../../schema/rpc/api.ts'
import type { ChunkClient, MetadataSession } from './api.ts'
import { Chunks } from './chunk-client.ts'
import { ChunkserverPool } from './chunkserver-pool.ts'
import type { ServersKnown } from './known-servers.ts'
import type { Profile } from './profile.ts'
import { Session } from './session.ts'

export interface OpenClientOptions {
  readonly profile: Profile
  readonly log: Log
  /** Sealed bytes held for chunks on their way, at most; 256 MiB by default, at least a chunk. */
  readonly writeBufferBytes?: number
  /** Told when the metadata servers or their epoch have changed, for the profile. */
  readonly onServers?: (known: ServersKnown) => void
}

export interface Client {
  readonly session: MetadataSession
  readonly chunks: ChunkClient
  /** Ends the session and closes every connection. */
  close(): Promise<void>
}

/**
 * Resolves when the session is open and the user's root verified. Throws `serverUntrusted`,
 * `notAuthentic`, `loginRefused` (a revoked device), or why the metadata server is out of reach.
 */
export async function openClient(options: OpenClientOptions): Promise<Client> {
  const { profile, log, writeBufferBytes, onServers } = options
  const dialer = new Dialer({ log })
  try {
    const session = await Session.open({
      profile,
      dialer,
      log,
      ...(onServers === undefined ? {} : { onServers }),
    })
    const pool = new ChunkserverPool({ dialer, caPem: profile.caPem, log })
    const chunks = new Chunks({
      session,
      pool,
      log,
      ...(writeBufferBytes === undefined ? {} : { writeBufferBytes }),
    })
    const close = async (): Promise<void> => {
      await chunks.close()
      await session.close()
      await dialer.close()
    }
    return { session, chunks, close }
  } catch (error) {
    await dialer.close()
    throw error
  }
}
