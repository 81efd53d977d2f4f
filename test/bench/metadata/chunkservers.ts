/**
 * All chunkservers at once: their registration, as after a restart of the metadata server, and rounds
 * of heartbeats. Each has a connection of its own with its own certificate. Where chunks are is in the
 * store, so a registration says how many a server has and not which.
 */
import { performance } from 'node:perf_hooks'
import { methods } from '../../../schema/methods.ts'
import { bounds } from '../../../server/chunkserver/bounds.ts'
import { Dialer } from '../../../schema/quic/dialer.ts'
import type { Peer } from '../../../schema/quic/api.ts'
import { log, storeOf, type BenchCluster, type Chunkserver, type RunningServer } from './cluster.ts'
import { cpuSeconds, memory, stops } from './measuring.ts'

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

/** One of them: reports, and says with the next report that the orders were carried out. */
class Beater {
  readonly server: Chunkserver
  readonly peer: Peer
  #deleted: number[] = []
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(server: Chunkserver, peer: Peer) {
    this.server = server
    this.peer = peer
  }

  async beat(): Promise<void> {
    const answer = await this.peer.call(methods.heartbeat, { ...HEARTBEAT, deleted: this.#deleted })
    this.#deleted = answer.deletes
  }

  keepBeating(pauseMs = Math.random() * bounds.heartbeatMs): void {
    this.#timer = setTimeout(() => {
      this.beat()
        .catch((error: unknown) => {
          if (!this.#closed) log.warn({ err: error }, 'a heartbeat failed')
        })
        .finally(() => {
          const spread = bounds.heartbeatSpread * (2 * Math.random() - 1)
          if (!this.#closed) this.keepBeating(bounds.heartbeatMs * (1 + spread))
        })
    }, pauseMs)
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.peer.close()
  }
}

export class Chunkservers {
  readonly #dialer = new Dialer({ log })
  readonly #beaters: Beater[] = []

  static async connect(cluster: BenchCluster): Promise<Chunkservers> {
    const all = new Chunkservers()
    for (const server of cluster.state.chunkservers) {
      const peer = all.#dialer.peer(await cluster.dialling(server))
      all.#beaters.push(new Beater(server, peer))
    }
    return all
  }

  /** The last one is not there any more. */
  async dropLast(): Promise<void> {
    await this.#beaters.pop()?.close()
  }

  /** Connects and registers all of them. */
  async register(): Promise<void> {
    await Promise.all(
      this.#beaters.map(async ({ server: { id, rack }, peer }) =>
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

  /** A heartbeat of each at the same time, which says that the last orders were carried out. */
  async heartbeat(): Promise<void> {
    await Promise.all(this.#beaters.map(async (beater) => beater.beat()))
  }

  /** A heartbeat of each every second, each at a time of its own, as chunkservers do. */
  keepBeating(): void {
    for (const beater of this.#beaters) beater.keepBeating()
  }

  async close(): Promise<void> {
    await Promise.all(this.#beaters.map(async (beater) => beater.close()))
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
    const delay = await server.loopDelay()
    console.log(
      `${what.padEnd(40)} ${ms.toFixed(0)} ms, server: ${cpu.toFixed(0)} ms CPU, ${stops(delay)}, ${memory(server.pid)}`,
    )
  }
  await timed('connection and registration of all', async () => servers.register())
  for (let round = 0; round < 3; round++) {
    await timed('heartbeats of all', async () => servers.heartbeat())
  }
}
