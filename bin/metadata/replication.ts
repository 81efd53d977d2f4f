/**
 * `dfs-metadata status`, `promote` and `forget-standby`.
 */
import { methods } from '../../schema/methods.ts'
import type { ReplicationStatusResponse } from '../../schema/generated/replication.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { clusterPaths, readPolicy } from '../../server/metadata/cluster-files.ts'
import { promoteStore } from '../../server/metadata/standby/promotion.ts'
import { finishCopy, readFollowed } from '../../server/metadata/standby/standby-files.ts'
import { openRocksStore } from '../../server/store/rocks-store.ts'
import { ask } from './operator.ts'

/** Prints the role, epoch and log number of the server of a directory, and how its standby follows. */
export async function status(dir: string, json: boolean): Promise<void> {
  const { epochProof: _, ...state } = await ask(dir, methods.replicationStatus, {
    epoch: 0,
    epochProof: new Uint8Array(0),
  })
  const text = json ? JSON.stringify(state, null, 2) : lines(state).join('\n')
  process.stdout.write(`${text}\n`)
}

type State = Omit<ReplicationStatusResponse, 'epochProof'>

function lines(state: State): string[] {
  const { role, epoch, number, addresses, connected, primaryNumber, standbyNumber, lagMs } = state
  const batches = primaryNumber - standbyNumber
  const lag = `${batches} batches, ${(lagMs / 1_000).toFixed(1)} s behind`
  const all = [`role\t${role}`, `epoch\t${epoch}`, `log\t${number}`]
  if (role === 'standby' || role === 'copying') {
    all.push(`of\t${addresses.join(' ')}`, `follows\t${connected ? lag : 'no'}`)
    return all
  }
  if (addresses.length === 0) return [...all, 'standby\tnone']
  all.push(`standby\t${addresses.join(' ')}`, `follows\t${connected ? lag : `no, ${lag}`}`)
  return [...all, `mode\t${mode(state)}`]
}

function mode({ sync, waits, fallbackMs }: State): string {
  if (!sync) return 'asynchronous'
  if (!waits) return 'synchronous, but going on without the standby now'
  return fallbackMs === 0 ? 'synchronous' : `synchronous, without it after ${fallbackMs / 1_000} s`
}

/**
 * Makes a standby the metadata server: by the running one, which goes on as such, or in its directory
 * when none is running.
 */
export async function promote(dir: string): Promise<void> {
  try {
    const { epoch, number } = await ask(dir, methods.promote, {})
    process.stderr.write(`promoted, epoch ${epoch}, log ${number}; it serves now\n`)
  } catch (error) {
    if (!(error instanceof DfsError) || !NOT_RUNNING.has(error.code)) throw error
    const { epoch, number } = await promoteOffline(dir)
    process.stderr.write(
      `promoted, epoch ${epoch}, log ${number}; start it with dfs-metadata serve\n`,
    )
  }
}

const NOT_RUNNING = new Set(['connectionRefused', 'notFound'])

async function promoteOffline(dir: string): Promise<{ epoch: number; number: number }> {
  await readPolicy(dir)
  await finishCopy(dir)
  const store = await openRocksStore(clusterPaths(dir).store, { createIfMissing: false })
  try {
    return await promoteStore(store, await readFollowed(dir))
  } finally {
    await store.close()
  }
}

/** Gives the standby up: nothing waits for it any more. */
export async function forgetStandby(dir: string): Promise<void> {
  await ask(dir, methods.forgetStandby, {})
}
