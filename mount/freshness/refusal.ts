/**
 * The refusal of a tree that is not the one that this device has seen last: for the log, and for whoever
 * mounts.
 */
import { DfsError } from '../../schema/wire/status.ts'
import type { TreeState } from './tree-state.ts'

/** One line: what the server has, what is known here. */
export function describeState(state: TreeState | undefined): string {
  if (state === undefined) return 'no state at all'
  const devices = [...state.rows]
    .map(([device, count]) => `${count} by device ${device}`)
    .join(', ')
  return `state ${state.counter} (${devices})`
}

/** Why a state that the server gave cannot be taken after what is known. */
export function refusal(given: TreeState | undefined, known: TreeState): DfsError {
  const older = given === undefined || given.counter < known.counter
  const what = older
    ? 'the metadata server shows an older tree than this device has seen'
    : 'the metadata server shows a tree that does not come of the one this device has seen'
  return new DfsError(
    'rolledBack',
    `${what}: ${describeState(given)} after ${describeState(known)}. ` +
      'Either its operator restored a backup (and perhaps another device of yours has accepted it), or ' +
      'it hides changes: ask the operator, and if you know what is lost, run dfs accept-rollback',
  )
}
