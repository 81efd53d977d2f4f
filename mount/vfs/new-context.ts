/**
 * Puts together what every part of one mounted file system shares.
 */
import type { Log } from '../../schema/rpc/api.ts'
import type { ChunkClient } from '../client/api.ts'
import type { FreshSession } from '../freshness/fresh-session.ts'
import { AccessControl } from './access-control.ts'
import { BlockCache } from './block-cache.ts'
import { BlockFetcher } from './block-fetcher.ts'
import { ChunkLocations } from './chunk-locations.ts'
import type { Context } from './context.ts'
import { ExtendedAttributes } from './extended-attributes.ts'
import { InodeVerifier } from './inode-verifier.ts'
import { LeasedTree } from './leased-tree.ts'
import { NameJournal } from './name-journal.ts'
import { OrderedSession } from './ordered-session.ts'
import { DIRTY_BYTES_MAX, WriteBudget } from './write-budget.ts'

/** `cacheBytes` of opened blocks are kept for reading. */
export function newContext(
  session: FreshSession,
  { chunks, log, cacheBytes }: { chunks: ChunkClient; log: Log; cacheBytes: number },
): Context {
  const leased = new LeasedTree(session.lease)
  const givenUp = { count: 0 }
  const verifier = new InodeVerifier(log, (inode) => session.condemned(inode))
  const cache = new BlockCache(cacheBytes)
  const journal = new NameJournal({ session, leased, verifier, givenUp, log })
  const ordered = new OrderedSession(session, journal)
  const xattrs = new ExtendedAttributes({ session: ordered, verifier, leased })
  return {
    session: ordered,
    freshness: session,
    chunks,
    log,
    verifier,
    cache,
    fetcher: new BlockFetcher(chunks, cache, log),
    locations: new ChunkLocations(),
    leased,
    journal,
    budget: new WriteBudget(DIRTY_BYTES_MAX),
    xattrs,
    acls: new AccessControl(xattrs),
    givenUp,
  }
}
