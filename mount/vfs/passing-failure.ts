/**
 * Which failures to save data may pass by themselves.
 */
import { DfsError } from '../../schema/wire/status.ts'
import { isPassing } from '../client/replica-errors.ts'

/** Whether the same data may be saved later: then it is kept, as long as a handle is open. */
export function mayPass(error: unknown): boolean {
  if (!(error instanceof DfsError)) return false
  if (isPassing(error)) return true
  const { code } = error
  return code === 'tooFewServers' || code === 'versionConflict' || code === 'cancelled'
}
