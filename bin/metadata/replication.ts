/**
 * `dfs-metadata promote` and `forget-standby`.
 */
import { methods } from '../../schema/methods.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { clusterPaths, readPolicy } from '../../server/metadata/cluster-files.ts'
import { promoteStore } from '../../server/metadata/standby/promotion.ts'
import { finishCopy, readFollowed } from '../../server/metadata/standby/standby-files.ts'
import { openRocksStore } from '../../server/store/rocks-store.ts'
import { ask } from './operator.ts'

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
