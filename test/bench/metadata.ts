/**
 * What one metadata server does with very many files, as a process of its own, over the real
 * transport, every answer durable. Run with `npm run bench -- metadata [options]`:
 *
 *   --files N      so many files of 64 MB (20000); ten million take about an hour to build
 *   --layout L     `flat`, all in one folder, or `tree`, a thousand in each directory
 *   --servers N    chunkservers (300), three replicas of each chunk
 *   --dir DIR      keep the store there, and go on with it the next time; else a temporary folder
 *   --only A,B     of build, start, servers, requests, cold, list, delete, loss; without it all but the
 *                  last two, which the store is not the same after
 *   --count N      requests of each kind (20000)
 *
 * The yardstick, printed first, is `ping` over the same connections: what the transport alone gives.
 * Client and server share the machine, so on two cores each has about one; the server's CPU time for
 * each request does not depend on what else runs.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { buildStore } from './metadata/build-store.ts'
import { Chunkservers, measureChunkservers } from './metadata/chunkservers.ts'
import { BATCH_FILES, BenchCluster, type Layout } from './metadata/cluster.ts'
import { measureLoss } from './metadata/server-loss.ts'
import { measureStart } from './metadata/starting.ts'
import {
  measureCold,
  measureDeletion,
  measureListing,
  measureRequests,
} from './metadata/requests.ts'

const REPLICAS = 3
const COLD_LOOKUPS = 1_000
const PAGES_MAX = 300
const PHASES = ['build', 'start', 'servers', 'requests', 'cold', 'list'] as const

/** Runs what the options ask for. */
export async function run(args: readonly string[] = []): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      files: { type: 'string', default: '20000' },
      layout: { type: 'string', default: 'flat' },
      servers: { type: 'string', default: '300' },
      dir: { type: 'string' },
      only: { type: 'string', default: PHASES.join(',') },
      count: { type: 'string', default: '20000' },
    },
  })
  const folder = values.dir ?? mkdtempSync(join(tmpdir(), 'dfs-bench-'))
  mkdirSync(folder, { recursive: true })
  const only = new Set(values.only.split(','))
  try {
    const cluster = await BenchCluster.open(folder, {
      layout: values.layout as Layout,
      replicas: REPLICAS,
      servers: Number(values.servers),
    })
    const files = Math.ceil(Number(values.files) / BATCH_FILES) * BATCH_FILES
    if (only.has('build')) await buildStore(cluster, files)
    console.log(`${cluster.state.files} files, ${cluster.state.layout}`)
    if (only.has('start')) await measureStart(cluster)
    const serving = [...only].some((phase) => phase !== 'build' && phase !== 'start')
    if (serving) await measureServing(cluster, only, Number(values.count))
  } finally {
    if (values.dir === undefined) rmSync(folder, { recursive: true, force: true })
  }
}

async function measureServing(
  cluster: BenchCluster,
  only: ReadonlySet<string>,
  count: number,
): Promise<void> {
  // Each copy that the chunkservers here do not make is a warning.
  const logLevel = only.has('loss') ? 'error' : 'warn'
  let server = await cluster.serve(logLevel)
  console.log(`serving after ${(server.readyMs / 1_000).toFixed(2)} s`)
  try {
    if (only.has('cold')) {
      await measureCold(cluster, server, { count: COLD_LOOKUPS, started: false })
      // Again with a new server, asked by code that is compiled by now.
      await server.kill('SIGTERM')
      server = await cluster.serve(logLevel)
      await measureCold(cluster, server, { count: COLD_LOOKUPS, started: true })
    }
    const servers = await Chunkservers.connect(cluster)
    if (only.has('servers')) await measureChunkservers(servers, server)
    else await servers.register()
    servers.keepBeating()
    if (only.has('requests')) {
      await measureRequests(cluster, server, { reads: 2 * count, writes: count })
    }
    const { files } = cluster.state
    const pages = Math.min(PAGES_MAX, Math.ceil(files / BATCH_FILES))
    if (only.has('list')) await measureListing(cluster, server, pages)
    if (only.has('delete')) await measureDeletion(cluster, server, Math.min(count, files))
    if (only.has('loss')) await measureLoss(cluster, { server, servers })
    await servers.close()
  } finally {
    const startedMs = performance.now()
    await server.kill('SIGTERM')
    console.log(`stopped in ${(performance.now() - startedMs).toFixed(0)} ms`)
  }
}
