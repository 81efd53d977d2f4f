/**
 * All chunkservers at once: their registration, as after a restart of the metadata server, and rounds
 * of heartbeats. Each has a connection of its own with its own certificate. Where chunks are is in the
 * store, so a registration says how many a server has and not which.
 */
import { performance } from 'node:perf_hooks'
import { methods } from '../../../schema/methods.ts'
import { Dialer } from '../../../schema/quic/dialer.ts'
import type { Peer } from '../../../schema/quic/api.ts'
import { log, storeOf, type BenchCluster, type Chunkserver, type RunningServer } from './cluster.ts'
import { cpuSeconds, memory } from './measuring.ts'

const SPACE = { freeBytes: 3e13, chunks: 100_000 }
const HEARTBEAT = {
  ...SPACE,
  usedBytes: 6.4e12,
  full: false,
  load: 0,
  deleted: [],
  unconfirmed: [],
  damaged: [],
}

export class Chunkservers {
  readonly #dialer = new Dialer({ log })
  readonly #peers: { readonly server: Chunkserver; readonly peer: Peer; deleted: number[] }[] = []
  #beating = false
  #timer: NodeJS.Timeout | undefined

  static async connect(cluster: BenchCluster): Promise<Chunkservers> {
    const all = new Chunkservers()
    for (const server of cluster.state.chunkservers) {
      const peer = all.#dialer.peer(await cluster.dialling(server))
      all.#peers.push({ server, peer, deleted: [] })
    }
    return all
  }

  /** The last one is not there any more. */
  async dropLast(): Promise<void> {
    await this.#peers.pop()?.peer.close()
  }

  /** Connects and registers all of them. */
  async register(): Promise<void> {
    await Promise.all(
      this.#peers.map(async ({ server: { id, rack }, peer }) =>
        peer.call(methods.register, {
          rack,
          addresses: [`10.0.${id >> 8}.${id & 255}:7401`],
          totalBytes: 4e13,
          store: storeOf(id),
          ...SPACE,
          epoch: 0,
          epochProof: new Uint8Array(0),
        }),
      ),
    )
  }

  /** A heartbeat of each, which says that the last orders were carried out. */
  async heartbeat(): Promise<void> {
    await Promise.all(
      this.#peers.map(async (one) => {
        const { deleted, peer } = one
        const answer = await peer.call(methods.heartbeat, { ...HEARTBEAT, deleted })
        one.deleted = answer.deletes
      }),
    )
  }

  /** Chunks that the last answers ordered to delete. */
  get ordered(): number {
    return this.#peers.reduce((sum, { deleted }) => sum + deleted.length, 0)
  }

  /** A heartbeat of each, every second. */
  keepBeating(): void {
    this.#timer = setInterval(() => {
      if (this.#beating) return
      this.#beating = true
      this.heartbeat()
        .catch((error: unknown) => log.warn({ err: error }, 'a heartbeat failed'))
        .finally(() => (this.#beating = false))
    }, 1_000)
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#peers.map(async ({ peer }) => peer.close()))
    await this.#dialer.close()
  }
}

/** Prints what a registration of all and a round of heartbeats take. */
export async function measureChunkservers(
  servers: Chunkservers,
  server: RunningServer,
): Promise<void> {
  const timed = async (what: string, work: () => Promise<void>): Promise<void> => {
    await server.loopDelay()
    const startedMs = performance.now()
    const startedCpu = cpuSeconds(server.pid)
    await work()
    const ms = performance.now() - startedMs
    const cpu = (cpuSeconds(server.pid) - startedCpu) * 1_000
    const { maxMs } = await server.loopDelay()
    console.log(
      `${what.padEnd(40)} ${ms.toFixed(0)} ms, server: ${cpu.toFixed(0)} ms CPU, loop max ${maxMs.toFixed(0)} ms, ${memory(server.pid)}`,
    )
  }
  await timed('connection and registration of all', async () => servers.register())
  for (let round = 0; round < 3; round++) {
    await timed('heartbeats of all', async () => servers.heartbeat())
  }
}
