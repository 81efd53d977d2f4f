/**
 * Which failures to save data may pass by themselves.
 */
import { DfsError } from '../../schema/wire/status.ts'

/** Whether the same data may be saved later: then it is kept, as long as a handle is open. */
export function mayPass(error: unknown): boolean {
  if (!(error instanceof DfsError)) return false
  switch (error.code) {
    case 'connectionLost':
    case 'connectionRefused':
    case 'deadlineExceeded':
    case 'tooManyRequests':
    case 'shuttingDown':
    case 'tooFewServers':
    case 'versionConflict':
    case 'cancelled':
      return true
    default:
      return false
  }
}
