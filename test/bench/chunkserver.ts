/**
 * What a chunkserver moves: chunks in, alone and through a chain of two, and out again, over
 * loopback, with the CPU that the servers spend. Run with `npm run bench -- chunkserver`.
 *
 * The yardstick is the same machine's disk: a file of the same size written in pieces of the same
 * length and synced by `fdatasync`, printed first. Small chunks are one block's worth of a small file.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { methods } from '../../schema/methods.ts'
import type { Peer } from '../../schema/quic/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { Rights } from '../../server/ticket.ts'
import { ChunkserverTest, type ServerProcess } from '../support/chunkservers.ts'

const CHUNK_BYTES = limits.chunkBlocksMax * limits.sealedBlockBytes
/** Chunks of each measurement, and how many are under way at once. */
const CHUNKS = 8
const AT_ONCE = 2
const SMALL_CHUNKS = 2_000
const SMALL_BYTES = 4_096
const SMALL_AT_ONCE = 32
const PIECE_BYTES = 4 * limits.sealedBlockBytes
/** Clock ticks of /proc/PID/stat in a second. */
const TICKS = 100

/** Prints one line for each measurement. */
export async function run(): Promise<void> {
  const base = mkdtempSync(join(process.cwd(), '.bench-chunkserver-'))
  const ends: (() => Promise<unknown>)[] = []
  try {
    const bytes = randomBytes(CHUNK_BYTES)
    await measureDisk(join(base, 'plain'), bytes)
    const test = await ChunkserverTest.create({ teardown: (end) => ends.push(end) })
    const servers = await startServers(test, base)
    await measure(test, servers, bytes)
  } finally {
    for (const end of ends.toReversed()) await end()
    rmSync(base, { recursive: true })
  }
}

async function measureDisk(path: string, bytes: Buffer): Promise<void> {
  const start = performance.now()
  for (let chunk = 0; chunk < CHUNKS; chunk++) {
    const file = await open(`${path}-${chunk}`, 'w')
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      await file.write(bytes, at, Math.min(PIECE_BYTES, bytes.length - at))
    }
    await file.datasync()
    await file.close()
  }
  report('plain file, written and synced', CHUNKS * bytes.length, start, 0)
}

async function startServers(test: ChunkserverTest, base: string): Promise<ServerProcess[]> {
  const servers: ServerProcess[] = []
  for (const id of [1, 2]) {
    const directory = join(base, `server-${id}`)
    mkdirSync(directory)
    servers.push(await test.start(directory, '--scrub-rate=0', '--log-level=warn'))
    await test.alive(id)
  }
  return servers
}

async function measure(
  test: ChunkserverTest,
  servers: readonly ServerProcess[],
  bytes: Buffer,
): Promise<void> {
  const [first, second] = servers
  if (first === undefined || second === undefined) throw new Error('two servers')
  const peer = test.peer(first.address, 1)
  const chain = [{ id: 2, rack: 'r1', addresses: [second.address] }]
  const bulk = CHUNKS * bytes.length
  const write = (base: number, more: object) => (chunk: number) =>
    test.write(peer, base + chunk, bytes, more)

  await timed('write, 1 replica', bulk, servers, () => each(CHUNKS, AT_ONCE, write(1_000, {})))
  await timed('write, 2 replicas', bulk, servers, () =>
    each(CHUNKS, AT_ONCE, write(2_000, { chain })),
  )
  await timed('read, whole chunks', bulk, servers, () =>
    each(CHUNKS, AT_ONCE, (chunk) => readAway(test, peer, 1_000 + chunk, 0)),
  )
  await timed('read, single blocks', SMALL_CHUNKS * limits.sealedBlockBytes, servers, () =>
    each(SMALL_CHUNKS, SMALL_AT_ONCE, (at) => readAway(test, peer, 1_000 + (at % CHUNKS), 1, at)),
  )
  const small = bytes.subarray(0, SMALL_BYTES)
  const start = performance.now()
  await each(SMALL_CHUNKS, SMALL_AT_ONCE, (chunk) =>
    test.write(peer, 10_000 + chunk, small, { chain }),
  )
  const seconds = (performance.now() - start) / 1_000
  console.log(`small chunks, 2 replicas\t${Math.round(SMALL_CHUNKS / seconds)}/s`)
}

async function timed(
  name: string,
  bytes: number,
  servers: readonly ServerProcess[],
  work: () => Promise<void>,
): Promise<void> {
  const cpuBefore = cpuSeconds(servers)
  const start = performance.now()
  await work()
  report(name, bytes, start, cpuSeconds(servers) - cpuBefore)
}

function report(name: string, bytes: number, startMs: number, cpu: number): void {
  const seconds = (performance.now() - startMs) / 1_000
  const speed = (bytes / 1e6 / seconds).toFixed(0)
  const cost = cpu === 0 ? '' : `\t${((cpu * 1e9) / bytes).toFixed(2)} CPU-s/GB of the servers`
  console.log(`${name}\t${speed} MB/s${cost}`)
}

/** Calls `work` for 0 to `count` - 1, `atOnce` of them at a time. */
async function each(
  count: number,
  atOnce: number,
  work: (index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

/** Reads blocks (0: all) into a buffer that is thrown away. */
async function readAway(
  test: ChunkserverTest,
  peer: Peer,
  chunk: number,
  blockCount: number,
  seed = 0,
): Promise<void> {
  const firstBlock = blockCount === 0 ? 0 : (seed * 7_919) % limits.chunkBlocksMax
  const ticket = test.ticket(chunk, Rights.read)
  const call = await peer.open(methods.readChunk, { chunk, ticket, firstBlock, blockCount })
  call.end()
  await call.response
  const into = Buffer.allocUnsafe(PIECE_BYTES)
  while ((await call.read(into)) > 0);
}

/** User and system time of processes so far. */
function cpuSeconds(servers: readonly ServerProcess[]): number {
  let ticks = 0
  for (const { child } of servers) {
    const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / TICKS
}
