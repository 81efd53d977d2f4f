/**
 * Makes a metadata directory from a backup.
 *
 * What happened between the backup and the loss is gone from it, but not from the world: chunkservers
 * have chunks, and clients have heard of numbers, that the restored store knows nothing of. So it never
 * gives out a number again that may have been given out (all sequences go far ahead), it keeps such
 * chunks until the operator lets go of them (plan-ages.ts), it asks chunkservers what they have
 * (restored-replicas.ts), and it takes up no session and no ticket of before.
 *
 * The directory appears when everything is in it, synced, and the file was found to be whole.
 */
import { mkdir, mkdtemp, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { DfsError } from '../../../schema/wire/status.ts'
import type { Change, OrderedStore } from '../../store/ordered-store.ts'
import { openRocksStore } from '../../store/rocks-store.ts'
import { clusterPaths, writeClusterFiles } from '../cluster-files.ts'
import { keys } from '../store/keys.ts'
import { requireNotNewer } from '../store/schema-version.ts'
import { tables } from '../store/tables.ts'
import { FIRST_EPOCH } from '../standby/epoch-proof.ts'
import { historyChange, randomMark, readHistory, Role } from '../standby/history.ts'
import { syncFolder } from '../durable-file.ts'
import { BackupReader, type BackupHeader } from './file.ts'
import type { RecordCounts } from './frames.ts'
import { distrustReplicas } from './restored-replicas.ts'

/**
 * A restored store begins at a number that grows with time, faster than anybody gives numbers out: so
 * it is behind all that was given out after the backup, and also behind what another restored store
 * gave out before a newer backup took its place. Should the clock be wrong, it is far ahead in any case.
 */
interface Ahead {
  /** Numbers for each millisecond since 2025. */
  readonly perMs: number
  readonly least: number
  readonly max: number
}
/**
 * 8,000 a second, all through the years until 2059. Clients refuse chunk ids from 2^43 on: they make one
 * number of a chunk and a block.
 */
const WIDE: Ahead = { perMs: 8, least: 2 ** 30, max: 2 ** 43 - 1 }
/** One a second, in 32 bits. */
const NARROW: Ahead = { perMs: 0.001, least: 10_000, max: 2 ** 32 - 1 }
const EPOCH_MS = Date.UTC(2025, 0, 1)
/** More than there are promotions between a backup and its restore. */
const EPOCHS_AHEAD = 1_000

/** All sequences; those that a backup does not have yet may have begun since. */
const SEQUENCES: Readonly<Record<string, Ahead>> = {
  inodes: WIDE,
  chunks: WIDE,
  sessions: WIDE,
  leases: WIDE,
  users: NARROW,
  devices: NARROW,
  servers: NARROW,
  standbys: NARROW,
}

export interface RestoreOptions {
  readonly from: string
  /** New or empty; its parent exists. */
  readonly dir: string
  /** Told of the bytes read so far. */
  readonly onProgress?: (bytes: number) => void
}

export interface Restored extends RecordCounts {
  readonly header: BackupHeader
}

/**
 * Restores. Throws `exists` when the directory is not empty, `recordCorrupt` for a file that is not
 * whole, `versionMismatch` for one that a newer program wrote; nothing is left behind then.
 */
export async function restoreBackup({ from, dir, onProgress }: RestoreOptions): Promise<Restored> {
  const target = resolve(dir)
  await refuseUsed(target)
  const reader = await BackupReader.open(from)
  let temporary: string | undefined
  try {
    requireNotNewer(reader.header.schemaVersion)
    temporary = await mkdtemp(join(dirname(target), `.${basename(target)}-restoring-`))
    const store = await openRocksStore(clusterPaths(temporary).store)
    try {
      for await (const entries of reader.records()) {
        await store.write(entries, { sync: false })
        onProgress?.(reader.bytes)
      }
      await distrustReplicas(store)
      await moveAhead(store, reader.header)
    } finally {
      await store.close()
    }
    await writeClusterFiles(temporary, reader.header.files)
    await putInPlace(temporary, target)
    return { header: reader.header, ...reader.counts }
  } catch (error) {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true })
    throw error
  } finally {
    await reader.close()
  }
}

async function refuseUsed(target: string): Promise<void> {
  try {
    if ((await readdir(target)).length === 0) return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      await mkdir(dirname(target), { recursive: true })
      return
    }
    throw error
  }
  throw new DfsError('exists', `${target} is not empty; a backup is restored into a new directory`)
}

/** The last batch, synced: what makes the store another one than it was. */
async function moveAhead(store: OrderedStore, { created }: BackupHeader): Promise<void> {
  if ((await store.get(keys.cluster)) === undefined) {
    throw new DfsError('recordCorrupt', 'the backup has no record of the store itself')
  }
  const changes: Change[] = []
  let keepBelow = 0
  const nowMs = Date.now()
  for (const [name, { perMs, least, max }] of Object.entries(SEQUENCES)) {
    const key = keys.sequence(name)
    const stored = await store.get(key)
    const next = stored === undefined ? 1 : tables.numbers.decode(stored).value
    const value = Math.max(next + least, Math.floor((nowMs - EPOCH_MS) * perMs))
    if (value > max - least) {
      throw new DfsError('invalidArgument', `there are no numbers left for ${name}`)
    }
    if (name === 'chunks') keepBelow = value
    changes.push({ key, value: tables.numbers.encode({ value }) })
  }
  const restored = {
    backedUp: BigInt(Date.parse(created)) * 1_000_000n,
    restored: BigInt(nowMs) * 1_000_000n,
    keepBelow,
  }
  changes.push({ key: keys.restored, value: tables.restored.encode(restored) })
  changes.push(await newHistory(store))
  await store.write(changes, { sync: true })
}

/**
 * Another history than that of any other store, of an epoch above all that were promoted since: what
 * else calls itself the metadata server is superseded, and a standby copies anew.
 */
async function newHistory(store: OrderedStore): Promise<Change> {
  const { epoch = FIRST_EPOCH, number = 0 } = (await readHistory(store)) ?? {}
  const history = { role: Role.primary, epoch: epoch + EPOCHS_AHEAD, number, mark: randomMark() }
  return historyChange(history)
}

async function putInPlace(temporary: string, target: string): Promise<void> {
  await syncFolder(temporary)
  await rmdir(target).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  })
  await rename(temporary, target)
  await syncFolder(dirname(target))
}
