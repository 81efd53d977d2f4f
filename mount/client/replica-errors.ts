/**
 * What a failure to read from a replica says: about the copy, about the server, about trying again.
 */
import type { ChunkLocation } from '../../schema/generated/metadata.ts'
import { DfsError } from '../../schema/wire/status.ts'

/** The error to give when no replica was good: what most deserves to be acted on. */
export function worstOf({ chunk, servers }: ChunkLocation, errors: readonly DfsError[]): DfsError {
  const first =
    errors.find(isAboutTicket) ??
    errors.find(({ code }) => code === 'notAuthentic') ??
    errors.at(-1)
  if (first === undefined) return new DfsError('chunkMissing', `chunk ${chunk}: no server has it`)
  const all = errors.map(({ message, code }) => `${message} [${code}]`).join('; ')
  const detail = `none of ${servers.length} replicas could be read: ${all}`
  return new DfsError(first.code, detail, { cause: first })
}

/** Whether the caller needs a new ticket before anything else can help. */
export function isAboutTicket({ code }: DfsError): boolean {
  return code === 'ticketExpired' || code === 'ticketInvalid'
}

/** Whether the copy is bad, in contrast to the server being away or busy. */
export function isBadCopy(error: DfsError): boolean {
  switch (error.code) {
    case 'notAuthentic':
    case 'chunkCorrupt':
    case 'chunkMissing':
    case 'chunkTruncated':
    case 'diskFailed':
      return true
    default:
      return false
  }
}

/** Whether the replica may be in reach a moment later. */
export function isPassing(error: DfsError): boolean {
  switch (error.code) {
    case 'connectionLost':
    case 'connectionRefused':
    case 'deadlineExceeded':
    case 'tooManyRequests':
    case 'shuttingDown':
      return true
    default:
      return false
  }
}

/** Whether the server should be asked later than others for a while. */
export function blamesServer(error: unknown): boolean {
  if (!(error instanceof DfsError)) return false
  if (isPassing(error)) return true
  return (
    error.code === 'serverUntrusted' || error.code === 'diskFailed' || error.code === 'internal'
  )
}
