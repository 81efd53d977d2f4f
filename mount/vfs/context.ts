/**
 * What every part of one mounted file system shares.
 */
import type { Log } from '../../schema/rpc/api.ts'
import type { ChunkClient, MetadataSession } from '../client/api.ts'
import type { BlockCache } from './block-cache.ts'
import type { BlockFetcher } from './block-fetcher.ts'
import type { ChunkLocations } from './chunk-locations.ts'
import type { InodeVerifier } from './inode-verifier.ts'
import type { LeasedTree } from './leased-tree.ts'
import type { WriteBudget } from './write-budget.ts'

export interface Context {
  readonly session: MetadataSession
  readonly chunks: ChunkClient
  readonly log: Log
  readonly verifier: InodeVerifier
  readonly cache: BlockCache
  readonly fetcher: BlockFetcher
  readonly locations: ChunkLocations
  readonly leased: LeasedTree
  readonly budget: WriteBudget
}
