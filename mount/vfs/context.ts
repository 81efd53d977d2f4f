/**
 * What every part of one mounted file system shares.
 */
import type { Log } from '../../schema/rpc/api.ts'
import type { ChunkClient, MetadataSession } from '../client/api.ts'
import type { FreshSession } from '../freshness/fresh-session.ts'
import type { AccessControl } from './access-control.ts'
import type { BlockCache } from './block-cache.ts'
import type { BlockFetcher } from './block-fetcher.ts'
import type { ChunkLocations } from './chunk-locations.ts'
import type { ExtendedAttributes } from './extended-attributes.ts'
import type { InodeVerifier } from './inode-verifier.ts'
import type { LeasedTree } from './leased-tree.ts'
import type { NameJournal } from './name-journal.ts'
import type { WriteBudget } from './write-budget.ts'

export interface Context {
  /** Gives no inode on without a mark that is older than it can be; asks nothing before what is held back. */
  readonly session: MetadataSession
  readonly freshness: Pick<FreshSession, 'requireTree' | 'changed' | 'removed' | 'isHeld' | 'close'>
  readonly chunks: ChunkClient
  readonly log: Log
  readonly verifier: InodeVerifier
  readonly cache: BlockCache
  readonly fetcher: BlockFetcher
  readonly locations: ChunkLocations
  readonly leased: LeasedTree
  readonly journal: NameJournal
  readonly budget: WriteBudget
  readonly xattrs: ExtendedAttributes
  readonly acls: AccessControl
  /** How often data that could be read may have been given up because it could not be saved. */
  readonly givenUp: { count: number }
}
