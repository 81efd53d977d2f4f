/**
 * The chunk client when chunkservers fail: one that is killed, frozen or damaged on disk costs a
 * moment and nothing else.
 */
import { openSync, closeSync, readSync, writeSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Chunks } from '../../mount/client/chunk-client.ts'
import {
  plaintext,
  readAll,
  sorted,
  startClientTest,
  writeChunk,
} from '../support/client-chunks.ts'

const MIB = 1_048_576
const twoOfThree = { replicas: 2, writeQuorum: 2 }

// They mostly wait for a dead server's connections to be given up.
t.jobs = 3

for (const [index, which] of ['first', 'second'].entries()) {
  t.test(
    `the ${which} server of the chain is killed in the middle of a chunk`,
    { buffered: true },
    async (t) => {
      const test = await startClientTest(t, 3, twoOfThree)
      const chunks = test.client()
      const plain = plaintext(24 * MIB)
      const writer = await chunks.begin(test.key)
      for (let at = 0; at < plain.length; at += MIB) {
        await writer.append(plain.subarray(at, at + MIB))
        if (at === 8 * MIB) {
          await sleep(100)
          await test.servers[index]?.kill()
        }
      }
      const startedMs = performance.now()
      const written = await writer.finish()
      t.ok(performance.now() - startedMs < 50_000, 'in bounded time')
      const survivors = [1, 2, 3].filter((id) => id !== index + 1)
      t.same(sorted(written.servers), survivors)
      for (const server of survivors) {
        t.ok(Buffer.compare(await readAll(test, chunks, written, [server]), plain) === 0)
      }
      t.equal(chunks.heldBytes, 0)
      const next = await writeChunk(chunks, test.key, plaintext(10))
      t.notOk(next.servers.includes(index + 1), 'the next chunk avoids it at once')
    },
  )
}

t.test('replicas in trouble', { buffered: true }, async (t) => {
  const test = await startClientTest(t, 3, twoOfThree)
  const { planner, servers } = test
  const plain = plaintext(3 * MIB + 5)
  const written = await writeChunk(test.client(), test.key, plain)
  t.same(sorted(written.servers), [1, 2])
  const good = async (chunks: Chunks): Promise<boolean> =>
    Buffer.compare(await readAll(test, chunks, written), plain) === 0

  t.test('a frozen replica is passed by', async (t) => {
    servers[0]?.child.kill('SIGSTOP')
    t.teardown(() => servers[0]?.child.kill('SIGCONT'))
    for (let round = 0; round < 4; round++) {
      const startedMs = performance.now()
      t.ok(await good(test.client()))
      t.ok(performance.now() - startedMs < 3_000, `${performance.now() - startedMs} ms`)
    }
  })

  t.test('a copy damaged on disk is passed by and reported', async (t) => {
    damage(servers[0]?.directory ?? '')
    planner.reports.length = 0
    const alone = test.client()
    await t.rejects(readAll(test, alone, written, [1]), { code: 'chunkCorrupt' })
    t.match(planner.reports, [{ chunk: written.chunk, server: 1, reason: /chunkCorrupt/ }])
    for (let round = 0; round < 4; round++) t.ok(await good(test.client()))
  })

  t.test('a killed replica is passed by', async (t) => {
    await servers[0]?.kill()
    for (let round = 0; round < 4; round++) {
      const chunks = test.client()
      const startedMs = performance.now()
      t.ok(await good(chunks))
      t.ok(await good(chunks), 'and again')
      t.ok(performance.now() - startedMs < 5_000, `${performance.now() - startedMs} ms`)
    }
  })

  t.test('with no replica in reach, reading ends with an error that names them', async (t) => {
    await servers[1]?.kill()
    const startedMs = performance.now()
    await t.rejects(readAll(test, test.client(), written), {
      code: /^(connectionRefused|deadlineExceeded)$/,
      message: /none of 2 replicas/,
    })
    t.ok(performance.now() - startedMs < 25_000)
  })
})

/** Changes one byte in the middle of the largest file below a chunkserver's chunks. */
function damage(directory: string): void {
  const chunks = join(directory, 'chunks')
  const files = readdirSync(chunks, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  const [file] = files
  if (file === undefined) throw new Error(`no chunk file below ${chunks}`)
  const opened = openSync(file, 'r+')
  const byte = Buffer.alloc(1)
  readSync(opened, byte, 0, 1, MIB)
  byte.writeUInt8(byte.readUInt8() ^ 1)
  writeSync(opened, byte, 0, 1, MIB)
  closeSync(opened)
}
