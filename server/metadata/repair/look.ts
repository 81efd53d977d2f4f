/**
 * Looking at chunks, a bounded number in one transaction: those that lack replicas are queued, those
 * that have enough again leave the queue, superfluous replicas are given up.
 */
import type { Log } from '../../../schema/rpc/api.ts'
import type { PlacedChunkRecord } from '../../../schema/generated/records.ts'
import type { Database } from '../store/database.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import { settle, type RepairView } from './chunk-repair.ts'

/** Chunks in one transaction: it must not hold up others for long. */
export const LOOKED_AT_MAX = 128

export interface LookParts {
  readonly database: Database
  readonly view: RepairView
  readonly log: Log
}

/** Copies of one server that turned out to be damaged or missing. */
export interface Finding {
  readonly server: number
  readonly bad: ReadonlySet<number>
}

interface Seen {
  /** Chunks that wait for replicas, whether or not they did before. */
  waiting: number
  /** Chunks without a replica that could be read, now that this was found. */
  readonly lost: number[]
  readonly damaged: number[]
  /** Chunks whose records are damaged. */
  readonly unreadable: number[]
}

/**
 * Looks at up to LOOKED_AT_MAX chunks; those without a record are passed over, and so are those whose
 * record is damaged, with a line in the log.
 */
export async function lookAt(
  chunks: readonly number[],
  { database, view, log }: LookParts,
  finding?: Finding,
): Promise<{ waiting: number }> {
  const seen = await database.write({}, async (txn) => {
    const result: Seen = { waiting: 0, lost: [], damaged: [], unreadable: [] }
    const records = await txn.getAll(
      tables.scannedChunks,
      chunks.map((chunk) => keys.chunk(chunk)),
      (i) => result.unreadable.push(chunks[i] ?? 0),
    )
    for (const [i, chunk] of chunks.entries()) {
      const stored = records[i]
      if (stored !== undefined) lookAtOne(txn, { chunk, stored, view, finding }, result)
    }
    return result
  })
  for (const chunk of seen.unreadable) {
    log.error({ chunk }, 'cannot look after a chunk: its record is damaged')
  }
  for (const chunk of seen.damaged) {
    log.warn(
      { chunk, server: finding?.server },
      'a replica is damaged or missing; another one is made',
    )
  }
  for (const chunk of seen.lost) {
    log.error(
      { chunk },
      'no replica of a chunk can be read; bring back a chunkserver that has one (dfs-metadata status)',
    )
  }
  return seen
}

function lookAtOne(
  txn: Transaction,
  look: {
    readonly chunk: number
    readonly stored: PlacedChunkRecord
    readonly view: RepairView
    readonly finding: Finding | undefined
  },
  result: Seen,
): void {
  const { chunk, stored, view, finding } = look
  const { servers, damaged } = stored
  let next = stored
  if (finding?.bad.has(chunk) === true) {
    const news = servers.includes(finding.server) && !damaged.includes(finding.server)
    if (news) {
      next = { ...stored, damaged: [...damaged, finding.server] }
      result.damaged.push(chunk)
    }
  }
  const settled = settle(txn, chunk, { stored, next }, view)
  if (settled.waits) result.waiting++
  if (settled.living === 0 && stored.repair !== 1) result.lost.push(chunk)
}
