/**
 * readWindows: where a stretch of a file is, as of one moment, with tickets to read it.
 *
 * The tickets live for ten minutes, so that a revoked device or a disabled user reads on for no longer;
 * clients ask again in time. Chunks never change, so what is answered stays readable until then, or
 * until the file changes and the old chunks are deleted.
 */
import type {
  ChunkLocation,
  ReadWindowsRequest,
  ReadWindowsResponse,
  Window,
} from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { Rights } from '../../ticket.ts'
import { refuse, WINDOW_INDEX_MAX } from '../input.ts'
import { isFile } from '../inode-kinds.ts'
import { extentBytes } from '../inode-removal.ts'
import type { Caller, Services } from '../services.ts'
import { readableServers } from '../repair/chunk-repair.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import type { Query } from './operation.ts'
import { ownInode } from './tree.ts'

/** Chunks, and extents, in one answer: what fits into the response. */
const CHUNKS_MAX = 32_768
const EXTENTS_MAX = 262_144
/** Milliseconds that a read ticket lives. */
const READ_TICKET_LIFE_MS = 600_000
const NS_PER_MS = 1_000_000n

export const readWindows: Query<ReadWindowsRequest, ReadWindowsResponse> = {
  method: methods.readWindows,
  check({ first, count }) {
    if (count === 0 || count > limits.windowsPerRequestMax) {
      refuse(`${count} windows; 1 to ${limits.windowsPerRequestMax} at once`)
    }
    if (first > WINDOW_INDEX_MAX) refuse(`window ${first}`)
  },

  async run(txn, { inode, first, count }, caller, services) {
    const record = await ownInode(txn, caller, inode)
    if (!isFile(record)) refuse(`inode ${inode} is no file; it has no windows`)
    const windowCount = Math.ceil(record.inode.attributes.size / limits.chunkBytesMax)
    const end = extentBytes(record) === 0 ? first : Math.min(first + count, windowCount)
    const indexes = Array.from({ length: Math.max(0, end - first) }, (_, i) => first + i)
    const stored = await txn.getAll(
      tables.windows,
      indexes.map((index) => keys.window(record.content, index)),
    )
    const windows: Window[] = []
    const chunks = new Set<number>()
    let extentCount = 0
    for (const [i, index] of indexes.entries()) {
      const window = stored[i]
      if (window === undefined) continue
      const { extents, patch } = window
      windows.push({ index, extents, patch })
      extentCount += extents.length
      for (const { chunk } of extents) chunks.add(chunk)
    }
    if (chunks.size > CHUNKS_MAX || extentCount > EXTENTS_MAX) {
      const detail = `${extentCount} extents of ${chunks.size} chunks in ${count} windows; ask for fewer`
      throw new DfsError('frameTooLarge', detail)
    }
    const locations = await locate(txn, [...chunks], caller, services)
    const servers = new Set(locations.flatMap((location) => location.servers))
    return {
      inode: record.inode,
      windows,
      chunks: locations,
      servers: services.topology.addresses(servers),
    }
  },
}

async function locate(
  txn: Transaction,
  chunks: readonly number[],
  { user }: Caller,
  { clock, ticketKeys, topology }: Services,
): Promise<ChunkLocation[]> {
  const expiresMs = clock.nowMs() + READ_TICKET_LIFE_MS
  const expires = BigInt(expiresMs) * NS_PER_MS
  const records = await txn.getAll(
    tables.chunks,
    chunks.map((chunk) => keys.chunk(chunk)),
  )
  return chunks.map((chunk, i) => {
    const record = records[i]
    if (record === undefined) {
      throw new DfsError('recordCorrupt', `chunk ${chunk} is named by a file and has no record`)
    }
    const { length } = record
    const servers = [...readableServers(record, topology)]
    const ticket = ticketKeys.issue(user, chunk, Rights.read, expiresMs)
    return { chunk, length, servers, ticket, expires }
  })
}
