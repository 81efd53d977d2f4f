/**
 * What the loss of one chunkserver costs: the last one is revoked, and all its chunks are looked through
 * and queued for repair. The others answer heartbeats only, so no copy succeeds meanwhile.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { methods } from '../../../schema/methods.ts'
import { Dialer } from '../../../schema/quic/dialer.ts'
import type { Chunkservers } from './chunkservers.ts'
import { log, type BenchCluster, type RunningServer } from './cluster.ts'
import { cpuSeconds, memory, stops } from './measuring.ts'

const LOOK_MS = 20
const LONGEST_MS = 120_000

/** Revokes a chunkserver for good, and prints what it takes until its chunks are queued. */
export async function measureLoss(
  cluster: BenchCluster,
  { server, servers }: { server: RunningServer; servers: Chunkservers },
): Promise<void> {
  const dialer = new Dialer({ log })
  const operator = await cluster.operator(dialer)
  const lost = cluster.state.chunkservers.pop()?.id ?? 0
  cluster.save()
  await servers.dropLast()
  await server.loopDelay()
  const startedCpu = cpuSeconds(server.pid)
  const startedMs = performance.now()
  await operator.call(methods.revokeServer, { server: lost, force: true })
  const revokedMs = performance.now() - startedMs
  let queued = 0
  let busy = true
  while (busy && performance.now() - startedMs < LONGEST_MS) {
    await sleep(LOOK_MS)
    const { waiting, lookingThrough } = await operator.call(methods.repairStatus, {})
    queued = waiting.reduce((sum, chunks) => sum + chunks, 0)
    busy = lookingThrough.length > 0 || queued === 0
  }
  const seconds = (performance.now() - startedMs - revokedMs) / 1_000
  const cpu = cpuSeconds(server.pid) - startedCpu
  const delay = await server.loopDelay()
  console.log(
    `loss of a server: looked at in ${(revokedMs / 1_000).toFixed(1)} s, ${queued} chunks queued after ${seconds.toFixed(1)} s more,` +
      ` server: ${cpu.toFixed(1)} s CPU, ${stops(delay)}, ${memory(server.pid)}`,
  )
  await dialer.close()
}
