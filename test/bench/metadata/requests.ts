/**
 * What clients ask of a metadata server with millions of files: lookups, attributes, creates, commits,
 * a listing, a deletion, over the real transport, many sessions, every answer durable.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { openClient, type Client } from '../../../mount/client/open.ts'
import type { MetadataSession } from '../../../mount/client/api.ts'
import type { Extent } from '../../../schema/generated/common.ts'
import { methods } from '../../../schema/methods.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { NO_PATCH, windowDigest } from '../../../schema/wire/content.ts'
import { BATCH_FILES, log, type BenchCluster, type RunningServer } from './cluster.ts'
import { cpuSeconds, measure, memory, randomNumbers, stops } from './measuring.ts'
import { neighbour } from './neighbour.ts'
import { attributes, entry, FILE_BYTES, Kind, NO_BYTES, token } from './sealed-bytes.ts'

const CLIENTS = 8
const IN_FLIGHT = 128
/** Milliseconds that deletion by the chunkservers is watched. */
const DRAIN_MS = 60_000
/** Lookups after which the runtime has compiled what they run, of files that are cached by then. */
const WARM_UP = 8_000
const KNOWN_FILES = 2_000
/** Some seconds of one after the other. */
const PINGS = 15_000
const PLANS = limits.chunksPerRequestMax

/** Sessions in turns: what a load asks through. */
class Clients {
  readonly #clients: Client[]
  #next = 0

  constructor(clients: Client[]) {
    this.#clients = clients
  }

  static async open(cluster: BenchCluster, count = CLIENTS): Promise<Clients> {
    const profile = await cluster.profile()
    return new Clients(
      await Promise.all(Array.from({ length: count }, async () => openClient({ profile, log }))),
    )
  }

  get session(): MetadataSession {
    const client = this.#clients[this.#next++ % this.#clients.length]
    if (client === undefined) throw new Error('no client')
    return client.session
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map(async (client) => client.close()))
  }
}

/** Asks for random files of all, `reads` times, and makes and commits `writes` new ones. */
export async function measureRequests(
  cluster: BenchCluster,
  server: RunningServer,
  { reads, writes }: { reads: number; writes: number },
): Promise<void> {
  const clients = await Clients.open(cluster)
  const common = { server, inFlight: IN_FLIGHT }
  const { files } = cluster.state
  const random = randomNumbers(files + 7)
  await measure({
    ...common,
    what: 'ping',
    count: reads,
    call: () => clients.session.read(methods.ping, {}),
  })
  await measure({
    ...common,
    what: 'lookup',
    count: reads,
    call: () => lookup(clients.session, cluster, random(files)),
  })
  await measure({
    ...common,
    what: 'getattr',
    count: reads,
    call: () => getattr(clients.session, cluster, random(files)),
  })
  await measure({
    ...common,
    what: 'getattr of 10,000',
    count: reads,
    call: () => getattr(clients.session, cluster, random(Math.min(files, 10_000))),
  })
  await measureWrites(clients, { cluster, server, writes })
  await clients.close()
}

async function measureWrites(
  clients: Clients,
  { cluster, server, writes }: { cluster: BenchCluster; server: RunningServer; writes: number },
): Promise<void> {
  const common = { server, inFlight: IN_FLIGHT, count: writes }
  const { folder } = cluster.state
  const run = Date.now() * 1_000
  const inodes: number[] = []
  const create = async (i: number): Promise<void> => {
    const { inode } = await clients.session.mutate(methods.create, {
      parent: folder,
      token: token('new', run + i),
      entry: entry(),
      attributes: attributes(Kind.file),
      inline: NO_BYTES,
      hold: false,
    })
    inodes.push(inode.inode)
  }
  await measure({ ...common, what: 'create in one folder', call: create })
  const plans: { chunk: number; ticket: Uint8Array; servers: number[] }[] = []
  const plan = async (): Promise<void> => {
    const request = { count: PLANS, exclude: [], chunk: 0, ticket: NO_BYTES }
    const answer = await clients.session.read(methods.plan, request)
    for (const { chunk, ticket, servers } of answer.plans) {
      plans.push({ chunk, ticket, servers: servers.map(({ id }) => id) })
    }
  }
  const count = Math.ceil(writes / PLANS)
  await measure({ ...common, count, what: `plan of ${PLANS}`, call: plan })
  const commit = async (i: number): Promise<void> => {
    const planned = plans[i]
    if (planned === undefined) throw new Error('fewer plans than files')
    const { chunk, ticket, servers } = planned
    const extents: Extent[] = [{ chunk, offset: 0, length: FILE_BYTES, chunkOffset: 0 }]
    await clients.session.mutate(methods.commit, {
      inode: inodes[i] ?? 0,
      attributes: attributes(Kind.file, { size: FILE_BYTES, version: 2 }),
      truncates: false,
      truncateTo: 0,
      windows: [{ index: 0, extents, digest: windowDigest(extents), patch: NO_PATCH }],
      chunks: [{ chunk, length: FILE_BYTES, servers, ticket }],
      inline: NO_BYTES,
    })
  }
  await measure({ ...common, what: 'commit of 64 MB', call: commit })
  const unlink = async (i: number): Promise<void> => {
    const name = token('new', run + i)
    const request = { parent: folder, token: name, directory: false }
    await clients.session.mutate(methods.unlink, request)
  }
  await measure({ ...common, what: 'unlink', call: unlink })
}

async function lookup(
  session: MetadataSession,
  cluster: BenchCluster,
  file: number,
): Promise<unknown> {
  const found = await session.read(methods.resolve, {
    base: cluster.parentOf(file),
    tokens: token('file', file),
    hold: false,
  })
  if (found.entries.length !== 1) throw new Error(`file ${file} is not there`)
  return found
}

function getattr(session: MetadataSession, cluster: BenchCluster, file: number): Promise<unknown> {
  return session.read(methods.getInode, { inode: cluster.inodeOf(file), hold: false })
}

/**
 * Lookups of files that are in nobody's cache, one after the other: of a server that has run for some
 * seconds, or right behind its start.
 */
export async function measureCold(
  cluster: BenchCluster,
  server: RunningServer,
  { count, started }: { count: number; started: boolean },
): Promise<void> {
  const clients = await Clients.open(cluster, 1)
  const { session } = clients
  const { files } = cluster.state
  const random = randomNumbers(Date.now() % 1_000_000)
  const call = (): Promise<unknown> => lookup(session, cluster, random(files))
  const known = (): Promise<unknown> =>
    lookup(session, cluster, random(Math.min(files, KNOWN_FILES)))
  if (!started) {
    const warmUp = { count: WARM_UP, inFlight: IN_FLIGHT, call: known }
    await measure({ server, what: 'known ones', ...warmUp })
  }
  dropCaches()
  const what = started ? 'cold, behind a start' : 'cold, one by one'
  await measure({ server, what, count, inFlight: 1, call })
  await clients.close()
}

function dropCaches(): void {
  spawnSync('sync')
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3\n')
  } catch {
    console.log('(not root: the kernel has the store in its cache)')
  }
}

/** One ping after the other: how long the server's event loop is blocked when it does nothing else. */
async function measurePing(clients: Clients, server: RunningServer): Promise<void> {
  const call = (): Promise<unknown> => clients.session.read(methods.ping, {})
  await measure({ server, what: 'ping, one by one', count: PINGS, inFlight: 1, call })
}

/** Lists the folder, or of a tree one directory after the other, page by page, up to `pages`. */
export async function measureListing(
  cluster: BenchCluster,
  server: RunningServer,
  pages: number,
): Promise<void> {
  const clients = await Clients.open(cluster, 1)
  const { session } = clients
  let first = 0
  await measurePing(clients, server)
  let after: Uint8Array = NO_BYTES
  let names = 0
  const call = async (): Promise<void> => {
    const directory = cluster.parentOf(first)
    const page = await session.read(methods.list, { directory, after, limit: BATCH_FILES })
    names += page.entries.length
    after = page.entries.at(-1)?.token ?? NO_BYTES
    if (cluster.state.layout === 'tree' || !page.more) {
      after = NO_BYTES
      first = (first + BATCH_FILES) % cluster.state.files
    }
  }
  const other = await neighbour(await cluster.neighbour())
  await measure({ server, what: 'list of 1000', count: pages, inFlight: 1, call })
  await other.end()
  console.log(`listed ${names} names`)
  await clients.close()
}

/**
 * Deletes the last `count` files, as `rm -r` by many hands does, and watches how their chunks are let
 * go and deleted by the chunkservers, for DRAIN_MS at most.
 */
export async function measureDeletion(
  cluster: BenchCluster,
  server: RunningServer,
  count: number,
): Promise<void> {
  const clients = await Clients.open(cluster)
  const { state } = cluster
  const first = state.files - count
  const call = async (i: number): Promise<void> => {
    const file = first + i
    const request = { parent: cluster.parentOf(file), token: token('file', file), directory: false }
    await clients.session.mutate(methods.unlink, request)
  }
  const other = await neighbour(await cluster.neighbour())
  await measure({ server, what: 'unlink of all', count, inFlight: IN_FLIGHT, call })
  await other.end()
  state.files = first
  state.firstInodes.length = Math.floor(first / 1_000)
  state.parents.length = state.firstInodes.length
  cluster.save()
  await drained(clients, server)
  await clients.close()
}

async function drained(clients: Clients, server: RunningServer): Promise<void> {
  const startedMs = performance.now()
  const startedCpu = cpuSeconds(server.pid)
  await server.loopDelay()
  let queued = 1
  while (queued > 0 && performance.now() - startedMs < DRAIN_MS) {
    await sleep(2_000)
    const { servers, chunks } = await clients.session.read(methods.clusterStatus, {})
    queued = servers.reduce((sum, { deletesQueued }) => sum + deletesQueued, 0)
    console.log(`${chunks} chunks, ${queued} copies to delete`)
  }
  const seconds = (performance.now() - startedMs) / 1_000
  const cpu = cpuSeconds(server.pid) - startedCpu
  const delay = await server.loopDelay()
  console.log(
    `deleted after ${seconds.toFixed(0)} s more, server: ${cpu.toFixed(1)} s CPU, ${stops(delay)}, ${memory(server.pid)}`,
  )
}
