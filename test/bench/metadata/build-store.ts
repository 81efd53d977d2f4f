/**
 * Builds a tree of millions of files through the server's own operations, in one process: plan,
 * create and commit as a client's requests run them, with all their checks, but a thousand files a
 * transaction and without the network. Each file has one extent of 64 MB on three chunkservers.
 *
 * A flat store has all files in one folder; a tree has a thousand in each directory, and a hundred
 * directories in each of those above.
 */
import { performance } from 'node:perf_hooks'
import type { Extent } from '../../../schema/generated/common.ts'
import type { ChunkPlan } from '../../../schema/generated/metadata.ts'
import { NO_PATCH, windowDigest } from '../../../schema/wire/content.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { Clock } from '../../../server/metadata/clock.ts'
import { clusterPaths, readIdentity, readPolicy } from '../../../server/metadata/cluster-files.ts'
import { openServices } from '../../../server/metadata/open-services.ts'
import { commit } from '../../../server/metadata/operations/commit.ts'
import { create } from '../../../server/metadata/operations/create.ts'
import { plan } from '../../../server/metadata/operations/plan.ts'
import { dentryName } from '../../../server/metadata/operations/tree.ts'
import { quotaOf, type Caller, type Services } from '../../../server/metadata/services.ts'
import { Database } from '../../../server/metadata/store/database.ts'
import { keys } from '../../../server/metadata/store/keys.ts'
import { tables } from '../../../server/metadata/store/tables.ts'
import type { RecordName, Transaction } from '../../../server/metadata/store/transaction.ts'
import { openRocksStore } from '../../../server/store/rocks-store.ts'
import { connection } from '../../support/metadata.ts'
import { BATCH_FILES, log, type BenchCluster, storeOf } from './cluster.ts'
import { attributes, entry, FILE_BYTES, Kind, NO_BYTES, token } from './sealed-bytes.ts'

const MIB = 1_048_576
/** Batches under way: while one is written, the next is decided. */
const BATCHES_AT_ONCE = 3
/** Directories in a directory, of a tree. */
const FAN_OUT = 100
/** Milliseconds between lines of progress. */
const PROGRESS_MS = 10_000
const OPERATION = { id: 0, answeredBelow: 0 }

/** Adds files until there are `files`, a multiple of BATCH_FILES. */
export async function buildStore(cluster: BenchCluster, files: number): Promise<void> {
  const { state } = cluster
  if (state.files >= files) return
  const store = await openRocksStore(clusterPaths(cluster.dir).store, {
    writeBufferBytes: 256 * MIB,
  })
  const onFailure = (error: unknown): never => {
    throw error
  }
  const database = await Database.open(store, { cacheBytes: 16 * MIB, onFailure })
  try {
    const policy = await readPolicy(cluster.dir)
    const authority = await readIdentity(clusterPaths(cluster.dir).authority)
    // Goes on with the heartbeats only: a process that was stopped for a while finds nobody silent.
    const time = { ms: Date.now() }
    const clock = new Clock(() => time.ms)
    const services = await openServices(database, { policy, authority, log, clock })
    const caller = await openCaller(services, state.profile.device)
    await new Builder(cluster, services, { caller, time }).run(files)
  } finally {
    await database.close()
    cluster.save()
    // What the engine's log still holds goes into its tables, as after any start.
    await (await openRocksStore(clusterPaths(cluster.dir).store)).close()
  }
}

async function openCaller(services: Services, deviceId: number): Promise<Caller> {
  const { database, sessions } = services
  const { user, device } = await database.read(async (txn) => {
    const found = await txn.get(tables.devices, keys.device(deviceId))
    const owner = await txn.get(tables.users, keys.user(found?.userId ?? 0))
    return { device: found, user: owner }
  })
  if (user === undefined || device === undefined) throw new Error('the profile is of another store')
  const session = await sessions.open(connection(), user, device, 0, [])
  return { user: user.userId, session, quotaBytes: quotaOf(user) }
}

class Builder {
  readonly #cluster: BenchCluster
  readonly #services: Services
  readonly #caller: Caller
  readonly #time: { ms: number }
  /** The directory of a tree that leaves are made in now. */
  #middle = 0

  constructor(
    cluster: BenchCluster,
    services: Services,
    { caller, time }: { caller: Caller; time: { ms: number } },
  ) {
    this.#cluster = cluster
    this.#services = services
    this.#caller = caller
    this.#time = time
  }

  async run(files: number): Promise<void> {
    const { state } = this.#cluster
    const first = state.files
    const startedMs = performance.now()
    const progress = setInterval(() => {
      const made = state.files - first
      const rate = made / ((performance.now() - startedMs) / 1_000)
      console.log(`${state.files} files, ${rate.toFixed(0)}/s`)
    }, PROGRESS_MS)
    await this.#trust()
    try {
      if (state.folder === 0) {
        const root = await this.#root()
        const { folder } = await this.#write([], async (txn) => ({
          folder: await this.#create(txn, root, Kind.directory, token('directory', 0)),
        }))
        state.folder = folder
      }
      let next = first / BATCH_FILES
      const worker = async (): Promise<void> => {
        while (next * BATCH_FILES < files) await this.#batch(next++)
      }
      await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, worker))
    } finally {
      clearInterval(progress)
      await this.#services.sessions.end(this.#caller.session)
    }
    const seconds = (performance.now() - startedMs) / 1_000
    const rate = ((files - first) / seconds).toFixed(0)
    console.log(`built ${files - first} files in ${seconds.toFixed(0)} s, ${rate}/s`)
  }

  /** When the chunkservers register they are taken to have what they should. */
  async #trust(): Promise<void> {
    const { database, topology } = this.#services
    for (const { record } of topology.all()) {
      const trusted = { ...record, store: storeOf(record.id) }
      await database.write({}, (txn) => txn.put(tables.servers, keys.server(record.id), trusted))
      topology.put(trusted)
    }
  }

  /** All chunkservers are alive, as if they had just said so. */
  #heartbeats(): void {
    const { topology } = this.#services
    this.#time.ms = Date.now()
    for (const { record } of topology.all()) {
      const { id, rack } = record
      const space = { totalBytes: 1e15, freeBytes: 1e15, chunks: 0 }
      topology.registered(id, { rack, addresses: [`host-${id}:1`], ...space })
    }
  }

  async #root(): Promise<number> {
    const { database } = this.#services
    const user = await database.read((txn) => txn.get(tables.users, keys.user(this.#caller.user)))
    return user?.rootInode ?? 0
  }

  /** One queue for all, so that batches are decided in their order. */
  #write<R>(warm: RecordName[], run: (txn: Transaction) => Promise<R>): Promise<R> {
    return this.#services.database.write({ queues: [0], warm }, run)
  }

  async #batch(batch: number): Promise<void> {
    const { state } = this.#cluster
    const names = Array.from({ length: BATCH_FILES }, (_, i) =>
      token('file', batch * BATCH_FILES + i),
    )
    const plans = await this.#plans()
    // What a client's request brings into the cache by itself, here for a thousand in one trip.
    const warm = plans.map(({ chunk }) => ({ table: tables.chunks, key: keys.chunk(chunk) }))
    const flat = state.layout === 'flat'
    const entries = flat ? names.map((name) => dentryName(state.folder, name)) : []
    const done = await this.#write([...warm, ...entries], async (txn) => {
      const parent = await this.#parent(txn, batch)
      const inodes: number[] = []
      for (const name of names) inodes.push(await this.#create(txn, parent, Kind.file, name))
      await txn.peekAll(
        tables.windows,
        inodes.map((inode) => keys.window(inode, 0)),
      )
      for (const [i, inode] of inodes.entries()) await this.#commit(txn, inode, plans[i])
      return { parent, inodes }
    })
    const first = done.inodes[0] ?? 0
    if (done.inodes.some((inode, i) => inode !== first + i)) throw new Error('inodes with a gap')
    state.parents[batch] = done.parent
    state.firstInodes[batch] = first
    state.files += BATCH_FILES
  }

  async #plans(): Promise<ChunkPlan[]> {
    this.#heartbeats()
    const all: ChunkPlan[] = []
    while (all.length < BATCH_FILES) {
      const count = Math.min(limits.chunksPerRequestMax, BATCH_FILES - all.length)
      const request = { count, exclude: [], chunk: 0, ticket: NO_BYTES }
      const { plans } = await this.#services.database.read((txn) =>
        plan.run(txn, request, this.#caller, this.#services),
      )
      all.push(...plans)
    }
    return all
  }

  async #parent(txn: Transaction, batch: number): Promise<number> {
    const { folder, layout } = this.#cluster.state
    if (layout === 'flat') return folder
    if (batch % FAN_OUT === 0 || this.#middle === 0) {
      const name = token('directory', -1 - batch)
      this.#middle = await this.#create(txn, folder, Kind.directory, name)
    }
    return this.#create(txn, this.#middle, Kind.directory, token('directory', 1 + batch))
  }

  async #commit(txn: Transaction, inode: number, planned: ChunkPlan | undefined): Promise<void> {
    if (planned === undefined) throw new Error('fewer plans than files')
    const { chunk, ticket, servers } = planned
    const extents: Extent[] = [{ chunk, offset: 0, length: FILE_BYTES, chunkOffset: 0 }]
    const ids = servers.map(({ id }) => id)
    const request = {
      operation: OPERATION,
      inode,
      attributes: attributes(Kind.file, { size: FILE_BYTES, version: 2 }),
      truncates: false,
      truncateTo: 0,
      windows: [{ index: 0, extents, digest: windowDigest(extents), patch: NO_PATCH }],
      chunks: [{ chunk, length: FILE_BYTES, servers: ids, ticket }],
      inline: NO_BYTES,
    }
    commit.check?.(request)
    await commit.run(txn, request, this.#caller, this.#services)
  }

  async #create(txn: Transaction, parent: number, kind: number, name: Buffer): Promise<number> {
    const request = {
      operation: OPERATION,
      parent,
      token: name,
      entry: entry(),
      attributes: attributes(kind),
      inline: NO_BYTES,
      hold: false,
    }
    create.check?.(request)
    const { inode } = await create.run(txn, request, this.#caller, this.#services)
    return inode.inode
  }
}
