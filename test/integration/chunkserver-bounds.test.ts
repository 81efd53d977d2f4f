/**
 * What clients that mean harm, or are merely many, can cost a chunkserver: memory stays bounded, and
 * others are served.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { methods } from '../../schema/methods.ts'
import type { Peer } from '../../schema/quic/api.ts'
import { Dialer } from '../../schema/quic/dialer.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { Rights } from '../../server/ticket.ts'
import { ChunkserverTest, header, type ServerProcess } from '../support/chunkservers.ts'
import { silent, until } from '../support/transport.ts'

const BLOCK = limits.sealedBlockBytes
const MIB = 1_048_576
/** Budgets of reads and of writes without a chain, RocksDB, the program itself. */
const RSS_BYTES_MAX = 450 * MIB

t.setTimeout(60_000)

async function oneServer(t: Test) {
  const test = await ChunkserverTest.create(t)
  const directory = join(t.testdir(), 'server')
  mkdirSync(directory)
  const server = await test.start(directory)
  await test.alive(1)
  const dialer = new Dialer({ log: silent })
  t.teardown(() => dialer.close())
  const another = (): Peer =>
    dialer.peer({
      addresses: [server.address],
      serverName: 'chunkserver-1.dfs',
      caPem: test.certificates.caPem,
      log: silent,
    })
  return { test, server, another, peer: test.peer(server.address, 1) }
}

/** Most memory that the process ever had, bytes. */
function peakBytes(server: ServerProcess): number {
  const status = readFileSync(`/proc/${server.child.pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1_024
}

t.test('readers that read nothing cost a window, and nobody else anything', async (t) => {
  const { test, server, another, peer } = await oneServer(t)
  await test.write(peer, 1, randomBytes(1_000 * BLOCK))
  const stalling = another()
  const calls = Array.from({ length: 300 }, async () =>
    stalling.open(methods.readChunk, {
      chunk: 1,
      ticket: test.ticket(1, Rights.read),
      firstBlock: 0,
      blockCount: 0,
    }),
  )
  for (const call of await Promise.all(calls)) call.end()
  t.ok(await until(() => (test.lastHeartbeat(1)?.load ?? 0) > 100), 'they keep it busy')
  const start = performance.now()
  const got = await test.read(peer, 1, { firstBlock: 999 })
  t.equal(got.bytes.length, BLOCK)
  t.ok(performance.now() - start < 5_000, `another reads in ${performance.now() - start} ms`)
  t.ok(peakBytes(server) < RSS_BYTES_MAX, `${Math.round(peakBytes(server) / MIB)} MiB at most`)
  await stalling.close()
  t.ok(await until(() => test.lastHeartbeat(1)?.load === 0), 'all forgotten when it leaves')
})

t.test('more writers than are admitted are refused at once, and the rest is whole', async (t) => {
  const { test, server, peer } = await oneServer(t)
  const bytes = randomBytes(20 * BLOCK)
  const outcomes = await Promise.allSettled(
    Array.from({ length: 400 }, (_, at) => test.write(peer, at + 1, bytes)),
  )
  const refused = outcomes.filter(({ status }) => status === 'rejected')
  const codes = new Set(
    refused.map((outcome) => (outcome.status === 'rejected' ? codeOf(outcome.reason) : '')),
  )
  t.same([...codes], ['tooManyRequests'])
  t.ok(outcomes.length - refused.length >= 16, `${outcomes.length - refused.length} stored`)
  t.ok(peakBytes(server) < RSS_BYTES_MAX, `${Math.round(peakBytes(server) / MIB)} MiB at most`)
  for (const [at, { status }] of outcomes.entries()) {
    if (at % 20 !== 0 || status === 'rejected') continue
    if (!(await test.read(peer, at + 1)).bytes.equals(bytes)) t.fail(`chunk ${at + 1}`)
  }
})

function codeOf(error: unknown): string {
  return error instanceof DfsError ? error.code : String(error)
}

t.test('writers that send nothing more leave nothing when their connection goes', async (t) => {
  const { test, server, another, peer } = await oneServer(t)
  const stalling = another()
  for (let chunk = 1; chunk <= 20; chunk++) {
    const call = await stalling.open(methods.writeChunk, {
      chunk,
      ticket: test.ticket(chunk, Rights.write),
      header,
      chain: [],
    })
    call.response.catch((error: unknown) => {
      if (!(error instanceof DfsError)) throw error
    })
    await call.write(randomBytes(10 * BLOCK))
  }
  const incoming = (): number => readdirSync(join(server.directory, 'chunks/incoming')).length
  t.ok(await until(() => incoming() > 5), 'files are under way')
  await test.write(peer, 100, randomBytes(3 * BLOCK))
  await stalling.close()
  t.ok(await until(() => incoming() === 0), 'and gone with the connection')
  t.ok(await until(() => test.lastHeartbeat(1)?.load === 0))
  await test.write(peer, 1, randomBytes(3 * BLOCK))
})
