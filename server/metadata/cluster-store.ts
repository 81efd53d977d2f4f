/**
 * The store of a metadata directory on which no server runs, for commands that work on all of it.
 */
import { existsSync } from 'node:fs'
import { DfsError } from '../../schema/wire/status.ts'
import type { OrderedStore } from '../store/ordered-store.ts'
import { openRocksStore } from '../store/rocks-store.ts'
import { clusterPaths, readPolicy } from './cluster-files.ts'
import { keys } from './store/keys.ts'
import { requireCurrent } from './store/schema-version.ts'
import { tables } from './store/tables.ts'

/**
 * Opens it. Throws `notFound` when the directory holds no cluster or nothing was ever stored,
 * `directoryInUse` while a server runs on it, `versionMismatch` for a store of another version.
 */
export async function openClusterStore(dir: string): Promise<OrderedStore> {
  await readPolicy(dir)
  const { store: path } = clusterPaths(dir)
  if (!existsSync(path)) {
    throw new DfsError('notFound', `${dir} has no store yet; a server makes it at its first start`)
  }
  const store = await openRocksStore(path)
  try {
    const stored = await store.get(keys.cluster)
    if (stored !== undefined) requireCurrent(tables.cluster.decode(stored).schemaVersion)
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}
