/**
 * repairStatus: how far the repair of chunks is, for the operator; and which files have chunks that
 * nobody can read now, by the numbers of their inodes.
 */
import type { RepairStatusResponse } from '../../../schema/generated/metadata.ts'
import type { Services } from '../services.ts'
import { keys, parts, ranges } from '../store/keys.ts'
import { keysOf } from '../store/page.ts'
import { tables } from '../store/tables.ts'
import { waitingForReplicas } from './cluster-status.ts'

/** Files named in one answer, and chunks looked at to find them. */
const LOST_INODES_MAX = 1_000
const LOST_CHUNKS_MAX = 10_000

export async function repairStatus(services: Services): Promise<RepairStatusResponse> {
  const { database, repairs } = services
  const page = await database.durablePage(ranges.lostChunks, LOST_CHUNKS_MAX)
  const lost = keysOf(page).map((key) => keys.chunk(parts.repairsChunk(key)))
  const records = await database.read((txn) =>
    txn.peekAll(tables.scannedChunks, lost, () => undefined),
  )
  const inodes = new Set<number>()
  for (const record of records) if (record !== undefined) inodes.add(record.inode)
  return {
    ...repairs.status,
    waiting: waitingForReplicas(services),
    lookingThrough: repairs.status.lookingThrough,
    lostInodes: [...inodes].slice(0, LOST_INODES_MAX),
    moreLostInodes: inodes.size > LOST_INODES_MAX || page.more,
  }
}
