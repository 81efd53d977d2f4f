/**
 * The loss of a chunkserver with 100,000 chunks: how long it takes to queue them all for repair, how
 * long others wait meanwhile, and what it costs in memory. Run with `npm run bench -- repair`
 * (`DFS_BENCH_CHUNKS` for another number).
 *
 * In one process, on a real store: the chunks are put there by transactions, then the server is
 * revoked, which is what its loss comes to. Beside it another task reads a record every millisecond:
 * its longest wait is what a user would have noticed. At the end the queue is gone through once with
 * chunkservers that answer at once: what one copy costs the metadata server.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection, Log } from '../../schema/rpc/api.ts'
import { createAuthority } from '../../server/identity/certificates.ts'
import { Clock } from '../../server/metadata/clock.ts'
import { openServices } from '../../server/metadata/open-services.ts'
import type { Services } from '../../server/metadata/services.ts'
import { counterNames } from '../../server/metadata/store/counters.ts'
import { Database } from '../../server/metadata/store/database.ts'
import { keys } from '../../server/metadata/store/keys.ts'
import { tables } from '../../server/metadata/store/tables.ts'
import { openRocksStore } from '../../server/store/rocks-store.ts'

const CHUNKS = Number(process.env['DFS_BENCH_CHUNKS'] ?? 100_000)
const SERVERS = 30
const PUT_AT_ONCE = 1_000
const CHUNK_BYTES = 67_108_864
const MIB = 1_048_576
const quiet = (): void => undefined
const log: Log = { debug: quiet, info: quiet, warn: quiet, error: quiet }

async function open(dir: string): Promise<Services> {
  const database = await Database.open(await openRocksStore(dir), {
    cacheBytes: 128 * MIB,
    onFailure(error) {
      throw error
    },
  })
  const policy = { cluster: Buffer.alloc(16), replicas: 2, writeQuorum: 2 }
  const authority = await createAuthority()
  return openServices(database, { policy, authority, log, clock: new Clock() })
}

async function addServers({ database, topology, links }: Services): Promise<void> {
  for (let id = 1; id <= SERVERS; id++) {
    const rack = `rack-${id % 3}`
    const flags = { revoked: false, lost: false, draining: false }
    const place = { addresses: [`h${id}:1`], joined: 0n, totalBytes: 1e15 }
    const record = { id, rack, ...place, ...flags, store: Buffer.of(id) }
    await database.write({}, (txn) => txn.put(tables.servers, keys.server(id), record))
    topology.put(record)
    const space = { totalBytes: 1e15, freeBytes: 1e15, chunks: 0 }
    topology.registered(id, { rack, addresses: [], ...space })
    const link: Pick<Connection, 'call' | 'closed'> = {
      call: async () => ({ sealedBytes: CHUNK_BYTES, sourceStatus: 0, detail: '' }) as never,
      closed: new Promise(quiet),
    }
    links.add(id, link as Connection)
  }
}

/** Chunks of two replicas, the first of each on server 1. */
async function addChunks({ database }: Services): Promise<void> {
  for (let first = 1; first <= CHUNKS; first += PUT_AT_ONCE) {
    await database.write({}, (txn) => {
      for (let chunk = first; chunk < first + PUT_AT_ONCE && chunk <= CHUNKS; chunk++) {
        const servers = [1, 2 + (chunk % (SERVERS - 1))]
        const what = { length: CHUNK_BYTES, windows: 1, inode: chunk, damaged: [], repair: 0 }
        txn.put(tables.chunks, keys.chunk(chunk), { ...what, servers })
        for (const server of servers) txn.put(tables.marks, keys.serverChunk(server, chunk), true)
        txn.add(counterNames.chunks, 1)
      }
    })
  }
}

/** Reads a record every millisecond until `done`; returns the waits in milliseconds, sorted. */
async function watch(services: Services, done: () => boolean): Promise<number[]> {
  const waits: number[] = []
  while (!done()) {
    const startedMs = performance.now()
    await services.database.read((txn) => txn.get(tables.servers, keys.server(2)))
    await new Promise<void>((resolve) => setImmediate(resolve))
    waits.push(performance.now() - startedMs)
    for (const state of services.topology.all()) {
      if (!state.record.revoked) state.lastHeartbeatMs = services.clock.nowMs()
    }
    await sleep(1)
  }
  return waits.sort((a, b) => a - b)
}

async function measure(what: string, services: Services, done: () => boolean): Promise<void> {
  globalThis.gc?.()
  const before = process.memoryUsage().rss
  const cpu = process.cpuUsage()
  const startedMs = performance.now()
  let peak = before
  const sampler = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 20)
  const waits = await watch(services, done)
  clearInterval(sampler)
  const seconds = (performance.now() - startedMs) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  const wait = (part: number): string =>
    (waits[Math.floor((waits.length - 1) * part)] ?? 0).toFixed(1)
  console.log(
    `${what}: ${CHUNKS} chunks in ${seconds.toFixed(1)} s, ${((user + system) / 1e6).toFixed(1)} s CPU, ` +
      `memory +${((peak - before) / MIB).toFixed(0)} MiB to ${(peak / MIB).toFixed(0)} MiB; ` +
      `others wait ${wait(0.5)} ms at the median, ${wait(0.99)} ms p99, ${wait(1)} ms at most`,
  )
}

/** Runs the whole measurement on a store of its own. */
export async function run(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'dfs-bench-'))
  const services = await open(join(dir, 'db'))
  const { database, repairs, topology } = services
  try {
    await addServers(services)
    await addChunks(services)
    const state = topology.get(1)
    if (state === undefined) throw new Error('there is no server 1')
    topology.put({ ...state.record, lost: true })
    repairs.standingChanged(1)
    const queued = (): boolean => database.counters.get(counterNames.repairs(1)) === CHUNKS
    await measure('queue', services, queued)
    repairs.start()
    const repaired = (): boolean => database.counters.get(counterNames.repairs(1)) === 0
    await measure('repair', services, repaired)
  } finally {
    await repairs.stop()
    await services.purger.stop()
    await database.close()
    rmSync(dir, { recursive: true, force: true })
  }
}
