/**
 * A connection to the metadata server without a session: for registering, logging in, and what is
 * done right after the password was proven.
 */
import { ready } from '@serenity-kit/opaque'
import type { Peer } from '../../schema/quic/api.ts'
import { Dialer } from '../../schema/quic/dialer.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { metadataServerName, silentLog } from './server-names.ts'

/** How a cluster is found and recognised: from a credential text, or from an older profile. */
export interface ClusterTrust {
  readonly addresses: readonly string[]
  readonly caPem: string
}

/** Runs `body` with the metadata server; what it proved there is forgotten afterwards. */
export async function withMetadata<T>(
  { addresses, caPem }: ClusterTrust,
  log: Log = silentLog,
  body: (peer: Peer) => Promise<T>,
): Promise<T> {
  await ready
  const dialer = new Dialer({ log })
  try {
    return await body(dialer.peer({ addresses, serverName: metadataServerName, caPem, log }))
  } finally {
    await dialer.close()
  }
}
