/**
 * A chunk client against real chunkserver processes, with the test in the metadata server's place:
 * it plans chunks over the servers that it is told of and notes what is reported.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { ServerAddress } from '../../schema/generated/common.ts'
import type {
  ChunkLocation,
  NewChunk,
  PlanRequest,
  PlanResponse,
  ReportChunkRequest,
} from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { Dialer } from '../../schema/quic/dialer.ts'
import type { Log, Method } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { InodeKey } from '../../mount/crypto/inode-key.ts'
import { blocksOf } from '../../mount/crypto/chunk-cipher.ts'
import type { ChunkClient } from '../../mount/client/api.ts'
import { Chunks } from '../../mount/client/chunk-client.ts'
import { ChunkserverPool } from '../../mount/client/chunkserver-pool.ts'
import { Rights } from '../../server/ticket.ts'
import { ChunkserverTest, type ServerProcess } from './chunkservers.ts'
import { silent } from './transport.ts'

/** What the chunk client asks of the metadata server, answered by the test. */
export class Planner {
  readonly writeQuorum: number
  readonly replicas: number
  readonly reports: ReportChunkRequest[] = []
  readonly plans: PlanRequest[] = []
  /** Servers in the order in which chains are made. */
  servers: readonly ServerAddress[] = []
  readonly #ticket: (chunk: number, rights: Rights) => Uint8Array
  #nextChunk = 1

  constructor(options: {
    replicas: number
    writeQuorum: number
    ticket: (chunk: number, rights: Rights) => Uint8Array
  }) {
    this.replicas = options.replicas
    this.writeQuorum = options.writeQuorum
    this.#ticket = options.ticket
  }

  async read<Q, R>(method: Method<Q, R>, request: Q): Promise<R> {
    if (method.id === methods.plan.id) return this.#plan(request as PlanRequest) as R
    if (method.id !== methods.reportChunk.id) throw new Error(`${method.name} is not expected`)
    this.reports.push(request as ReportChunkRequest)
    return {} as R
  }

  /** Where a written chunk is, as the metadata server would tell. */
  location({ chunk, length }: NewChunk, servers: readonly number[]): ChunkLocation {
    const expires = BigInt(Date.now() + 600_000) * 1_000_000n
    return {
      chunk,
      length,
      servers: [...servers],
      ticket: this.#ticket(chunk, Rights.read),
      expires,
    }
  }

  #plan(request: PlanRequest): PlanResponse {
    this.plans.push(request)
    const { count, chunk: again, exclude } = request
    const usable = this.servers.filter(({ id }) => !exclude.includes(id))
    if (usable.length < this.writeQuorum)
      throw new DfsError('tooFewServers', 'the test has no more')
    const expires = BigInt(Date.now() + 3_600_000) * 1_000_000n
    const plans = Array.from({ length: count }, () => {
      const chunk = again === 0 ? this.#nextChunk++ : again
      const servers = usable.slice(0, this.replicas)
      return { chunk, ticket: this.#ticket(chunk, Rights.write), expires, servers }
    })
    return { plans }
  }
}

export interface ClientTest {
  readonly test: ChunkserverTest
  readonly planner: Planner
  readonly servers: readonly ServerProcess[]
  readonly addresses: readonly ServerAddress[]
  readonly key: InodeKey
  /** A client of its own, closed with the test. */
  client(options?: { writeBufferBytes?: number; log?: Log }): Chunks
}

/** Starts `count` chunkservers, numbered from 1. */
export async function startClientTest(
  t: Test,
  count: number,
  policy: { replicas: number; writeQuorum: number },
): Promise<ClientTest> {
  const test = await ChunkserverTest.create(t)
  const base = t.testdir()
  const servers: ServerProcess[] = []
  const addresses: ServerAddress[] = []
  for (let id = 1; id <= count; id++) {
    const directory = join(base, `server-${id}`)
    mkdirSync(directory)
    const server = await test.start(directory)
    await test.alive(id)
    servers.push(server)
    addresses.push({ id, rack: 'r1', addresses: [server.address] })
  }
  const planner = new Planner({ ...policy, ticket: (chunk, rights) => test.ticket(chunk, rights) })
  planner.servers = addresses
  const client = (options: { writeBufferBytes?: number; log?: Log } = {}): Chunks => {
    const dialer = new Dialer({ log: silent })
    const log = options.log ?? silent
    const pool = new ChunkserverPool({ dialer, caPem: test.certificates.caPem, log })
    const chunks = new Chunks({ session: planner, pool, log, ...options })
    t.teardown(async () => {
      await chunks.close()
      await dialer.close()
    })
    return chunks
  }
  return { test, planner, servers, addresses, key: InodeKey.generate(), client }
}

/** Writes `plain` as one chunk, in pieces as the kernel gives them. */
export async function writeChunk(
  chunks: ChunkClient,
  key: InodeKey,
  plain: Uint8Array,
): Promise<NewChunk> {
  const writer = await chunks.begin(key)
  for (let at = 0; at < plain.length; at += 131_072) {
    await writer.append(plain.subarray(at, at + 131_072))
  }
  return writer.finish()
}

export const sorted = (ids: readonly number[]): number[] => [...ids].sort((a, b) => a - b)

/** All of a chunk's plaintext, from the given servers. */
export async function readAll(
  { planner, addresses, key }: Pick<ClientTest, 'planner' | 'addresses' | 'key'>,
  chunks: Chunks,
  written: NewChunk,
  servers: readonly number[] = written.servers,
): Promise<Uint8Array> {
  const location = planner.location(written, servers)
  const blocks = blocksOf(written.length)
  return Buffer.concat(await chunks.readBlocks(key, location, addresses, 0, blocks))
}

/** Random plaintext. */
export const plaintext = (bytes: number): Buffer => randomBytes(bytes)
