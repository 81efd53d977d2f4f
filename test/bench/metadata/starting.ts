/**
 * How long a metadata server takes to start: to its first answer to a client, after a clean stop and
 * after `kill -9` in the middle of creates.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { openClient } from '../../../mount/client/open.ts'
import { methods } from '../../../schema/methods.ts'
import { clusterPaths } from '../../../server/metadata/cluster-files.ts'
import { log, type BenchCluster, type RunningServer } from './cluster.ts'
import { cpuSeconds, memory } from './measuring.ts'
import { attributes, entry, Kind, NO_BYTES, token } from './sealed-bytes.ts'

/** Milliseconds of creates before the kill: enough to fill most of a memory table. */
const LOAD_MS = 20_000
const IN_FLIGHT = 128

export async function measureStart(cluster: BenchCluster): Promise<void> {
  const first = await answering(cluster, 'start after a clean stop')
  const made = await load(cluster)
  await first.kill('SIGKILL')
  const mb = (logBytes(cluster) / 1e6).toFixed(0)
  const what = `start after kill -9, ${made} creates before, ${mb} MB of log`
  const second = await answering(cluster, what)
  await second.kill('SIGTERM')
}

async function answering(cluster: BenchCluster, what: string): Promise<RunningServer> {
  const startedMs = performance.now()
  const server = await cluster.serve()
  const client = await openClient({ profile: await cluster.profile(), log })
  await client.session.read(methods.resolve, {
    base: cluster.parentOf(1),
    tokens: token('file', 1),
    hold: false,
  })
  const ms = performance.now() - startedMs
  await client.close()
  const [ready, answer] = [(server.readyMs / 1_000).toFixed(2), (ms / 1_000).toFixed(2)]
  const cpu = cpuSeconds(server.pid).toFixed(2)
  console.log(
    `${what}: listens after ${ready} s, first answer after ${answer} s, ${cpu} s CPU, ${memory(server.pid)}`,
  )
  return server
}

/** Bytes of the engine's log, which a start goes through. */
function logBytes(cluster: BenchCluster): number {
  const { store } = clusterPaths(cluster.dir)
  const logs = readdirSync(store).filter((file) => file.endsWith('.log'))
  return logs.reduce((sum, file) => sum + statSync(join(store, file)).size, 0)
}

/** Creates files until it is enough; the client is given up with the server. */
async function load(cluster: BenchCluster): Promise<number> {
  const client = await openClient({ profile: await cluster.profile(), log })
  const endMs = performance.now() + LOAD_MS
  const run = Date.now() * 1_000
  let made = 0
  const worker = async (): Promise<void> => {
    while (performance.now() < endMs) {
      await client.session.mutate(methods.create, {
        parent: cluster.state.folder,
        token: token('new', run + made++),
        entry: entry(),
        attributes: attributes(Kind.file),
        inline: NO_BYTES,
        hold: false,
      })
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
  await client.close()
  return made
}
