/**
 * Taking a tree knowingly that this device would refuse: after the operator had to restore a backup.
 *
 * Who accepts first begins a new history on what the server has, with its version table; every other
 * device refuses that in turn, until its user accepts it there, and then takes it as it is.
 */
import { methods } from '../../schema/methods.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { MetadataSession } from '../client/api.ts'
import { describeState } from './refusal.ts'
import { StateMemory } from './state-memory.ts'
import { genesis, openState, orderOf, type TreeState } from './tree-state.ts'

type Asking = Pick<MetadataSession, 'read' | 'rootKey' | 'device'>

export interface Comparison {
  /** The server's tree is not one that came of what this device has seen. */
  readonly refused: boolean
  /** One line each, for a person. */
  readonly remembered: readonly string[]
  readonly given: string
  /**
   * Takes the server's tree; without the bounds of versions in it if that is told. Throws
   * `versionConflict` when it has changed since it was compared.
   */
  accept(forgetVersions?: boolean): Promise<void>
}

/** Compares what a device remembers in `stateDir` with what the server has. */
export async function compareTrees(
  session: Asking,
  stateDir: string,
  log: Log,
): Promise<Comparison> {
  const { rootKey, device } = session
  const memory = new StateMemory(stateDir, rootKey, log)
  const known = await memory.recall()
  const { counter, state } = await session.read(methods.readTreeState, { pages: [] })
  const given = readable(session, state)
  const follows = (one: TreeState): boolean =>
    given !== undefined && ['same', 'newer'].includes(orderOf(given, one))
  const elsewhere =
    given !== undefined && known.every(({ lineage }) => !lineage.equals(given.lineage))
  return {
    refused: !known.every(follows) || (given === undefined && state.length > 0),
    remembered: known.map(describeState),
    given: describeState(given),
    async accept(forgetVersions = false) {
      if (given !== undefined && elsewhere && !forgetVersions) {
        // Another device has begun anew, or this one was told of no other tree yet.
        await memory.replace(given)
        return
      }
      const from = { device, counter: counter + 1 }
      const next = genesis(
        rootKey,
        given === undefined || forgetVersions ? from : { ...from, root: given.root },
      )
      await session.read(methods.writeTreeState, { counter, state: next.bytes, pages: [] })
      await memory.replace(next)
    },
  }
}

/** A state that this account made; undefined for none, and for what it did not make. */
function readable({ rootKey }: Asking, state: Uint8Array): TreeState | undefined {
  if (state.length === 0) return undefined
  try {
    return openState(rootKey, state)
  } catch (error) {
    if (error instanceof DfsError && error.code === 'notAuthentic') return undefined
    throw error
  }
}
