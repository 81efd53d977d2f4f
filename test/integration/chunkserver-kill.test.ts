/**
 * kill -9 of the real chunkserver under load, again and again: whatever was acknowledged is there and
 * whole after each restart, and whatever was not is whole or absent.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { ChunkserverTest, type ServerProcess } from '../support/chunkservers.ts'

const BLOCK = limits.sealedBlockBytes
/** Kills; thousands on demand. */
const ROUNDS = Number(process.env['DFS_TEST_KILLS'] ?? 4)
const WRITERS = 6

t.setTimeout(60_000 + ROUNDS * 20_000)
/** Bytes from which all test chunks are cut, so that the content of a chunk follows from its id. */
const source = randomBytes(40 * BLOCK)

const contentOf = (chunk: number): Buffer => {
  const length = chunk % 3 === 0 ? 1 + (chunk % 60_000) : ((chunk * 7_919) % (24 * BLOCK)) + 1
  const at = (chunk * 104_729) % (source.length - length)
  return source.subarray(at, at + length)
}

t.test(
  'what was acknowledged survives kill -9',
  { timeout: 60_000 + ROUNDS * 20_000 },
  async (t) => {
    const test = await ChunkserverTest.create(t)
    const directory = join(t.testdir(), 'server')
    mkdirSync(directory)
    const acknowledged = new Set<number>()
    const attempted = new Set<number>()
    let nextChunk = 1
    let server = await test.start(directory)

    for (let round = 1; round <= ROUNDS; round++) {
      await test.alive(1)
      const peer = test.peer(server.address, 1)
      const killing = new AbortController()
      const killed = (): boolean => killing.signal.aborted
      const write = async (): Promise<void> => {
        while (!killed()) {
          const chunk = nextChunk++
          attempted.add(chunk)
          try {
            await test.write(peer, chunk, contentOf(chunk))
            acknowledged.add(chunk)
          } catch (error) {
            if (!killed() || !(error instanceof DfsError)) throw error
          }
        }
      }
      const writers = Array.from({ length: WRITERS }, write)
      await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 400))
      killing.abort()
      await server.kill('SIGKILL')
      await test.forget(server.address)
      await Promise.all(writers)

      server = await test.start(directory)
      t.same(readdirSync(join(directory, 'chunks/incoming')), [], 'nothing half is left')
      await test.alive(1)
      const present = await verify(test, server, attempted, acknowledged)
      t.ok(
        present >= acknowledged.size,
        `round ${round}: ${present} of ${attempted.size} are there`,
      )
      const heartbeat = test.lastHeartbeat(1)
      t.equal(heartbeat?.chunks, present, 'and counted exactly')
      t.same(heartbeat?.damaged, [])
    }
    t.ok(acknowledged.size > ROUNDS * 10, `${acknowledged.size} acknowledged writes`)
  },
)

/** Reads every chunk that was ever tried; returns how many are there. Throws for a wrong byte. */
async function verify(
  test: ChunkserverTest,
  server: ServerProcess,
  attempted: ReadonlySet<number>,
  acknowledged: ReadonlySet<number>,
): Promise<number> {
  const peer = test.peer(server.address, 1)
  let present = 0
  for (const chunk of attempted) {
    try {
      const { bytes } = await test.read(peer, chunk)
      if (!bytes.equals(contentOf(chunk))) throw new Error(`chunk ${chunk} has wrong bytes`)
      present++
    } catch (error) {
      const absent = error instanceof DfsError && error.code === 'chunkMissing'
      if (!absent || acknowledged.has(chunk)) throw error
    }
  }
  return present
}
