/**
 * One new replica: the target gets the chunk from the source, then one transaction makes it count,
 * unless the chunk was deleted or repaired meanwhile.
 *
 * Why nothing is left behind when it fails: a copy of which the outcome is unknown is ordered to be
 * deleted (chunk-repair.ts says why that order hits no later replica); when this server itself dies,
 * the target keeps a chunk that no record places there, and asks about it when it is old enough.
 */
import { methods } from '../../../schema/methods.ts'
import type { Log } from '../../../schema/rpc/api.ts'
import { DfsError, statusFromWire } from '../../../schema/wire/status.ts'
import type { PlacedChunkRecord } from '../../../schema/generated/records.ts'
import { Rights } from '../../ticket.ts'
import type { Clock } from '../clock.ts'
import type { ServerLinks } from '../server-links.ts'
import type { Database } from '../store/database.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { TicketKeys } from '../ticket-keys.ts'
import { deleteOrdered, orderDeleteOnce, place, type RepairView } from './chunk-repair.ts'
import type { CopyChoice } from './verdict.ts'

/** The cluster itself, where a ticket names a user. */
const NOBODY = 0
/** Milliseconds that the ticket lives: as long as the request may take. */
const TICKET_MS = methods.copyChunk.deadlineMs + 60_000

export interface CopyParts {
  readonly database: Database
  readonly links: ServerLinks
  readonly ticketKeys: TicketKeys
  readonly clock: Clock
  readonly view: RepairView
  readonly log: Log
}

/**
 * How it ended: made; not needed any more; or which of the two failed. `source` failures are for the
 * source's own check, `target` ones may pass.
 */
export type CopyOutcome =
  | { readonly end: 'made'; readonly bytes: number }
  | { readonly end: 'void' }
  | { readonly end: 'source' | 'target'; readonly error: DfsError }

/** Makes a replica of `chunk`; never throws a DfsError. */
export async function makeReplica(
  chunk: number,
  { source, target }: CopyChoice,
  copyParts: CopyParts,
): Promise<CopyOutcome> {
  const { links, ticketKeys, clock, view } = copyParts
  const [address] = view.topology.addresses([source])
  if (address === undefined) return { end: 'void' }
  try {
    if (!(await mayBegin(chunk, { source, target }, copyParts))) return { end: 'void' }
    const ticket = ticketKeys.issue(NOBODY, chunk, Rights.read, clock.nowMs() + TICKET_MS)
    const request = { chunk, ticket, source: address }
    const answer = await links.call(target, methods.copyChunk, request)
    if (answer.sourceStatus === 0) return await placed(chunk, target, answer.sealedBytes, copyParts)
    const error = new DfsError(statusFromWire(answer.sourceStatus), answer.detail)
    return { end: 'source', error }
  } catch (error) {
    if (!(error instanceof DfsError)) throw error
    await forgetUnknown(chunk, target, error, copyParts)
    return { end: 'target', error }
  }
}

/** Whether it is still so that the source has what the target lacks. */
function mayBegin(
  chunk: number,
  { source, target }: CopyChoice,
  { database }: CopyParts,
): Promise<boolean> {
  return database.read(async (txn) => {
    const record = await txn.get(tables.chunks, keys.chunk(chunk))
    if (record === undefined || record.repair === 0) return false
    if (!has(record, source) || has(record, target)) return false
    return !(await deleteOrdered(txn, target, chunk))
  })
}

const has = ({ servers, damaged }: PlacedChunkRecord, server: number): boolean =>
  servers.includes(server) && !damaged.includes(server)

/** The target has it durably: lets it count, or has it deleted when nobody wants it any more. */
async function placed(
  chunk: number,
  target: number,
  bytes: number,
  { database, view }: CopyParts,
): Promise<CopyOutcome> {
  return database.write({}, async (txn): Promise<CopyOutcome> => {
    const stored = await txn.get(tables.chunks, keys.chunk(chunk))
    if (stored === undefined) {
      await orderDeleteOnce(txn, target, chunk)
      return { end: 'void' }
    }
    if (await deleteOrdered(txn, target, chunk)) {
      const detail = `chunk ${chunk} is being deleted from chunkserver ${target}`
      return { end: 'target', error: new DfsError('tooManyRequests', detail) }
    }
    place(txn, { chunk, server: target }, stored, view)
    return { end: 'made', bytes }
  })
}

/** After a failure that leaves open whether the target has the chunk. */
async function forgetUnknown(
  chunk: number,
  target: number,
  error: DfsError,
  { database, log }: CopyParts,
): Promise<void> {
  if (!UNKNOWN.has(error.code)) return
  try {
    await database.write({}, async (txn) => {
      const record = await txn.get(tables.chunks, keys.chunk(chunk))
      if (record?.servers.includes(target) !== true) await orderDeleteOnce(txn, target, chunk)
    })
  } catch (cause) {
    if (!(cause instanceof DfsError)) throw cause
    const { code, message } = cause
    log.warn({ chunk, target, code, err: message }, 'left an unfinished copy to its chunkserver')
  }
}

const UNKNOWN: ReadonlySet<string> = new Set(['connectionLost', 'deadlineExceeded', 'internal'])
