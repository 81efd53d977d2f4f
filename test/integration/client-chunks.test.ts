/**
 * The chunk client against real chunkserver processes: what is written comes back, nothing else opens,
 * and memory stays within its bound.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { limits } from '../../schema/wire/limits.ts'
import { InodeKey } from '../../mount/crypto/inode-key.ts'
import {
  plaintext,
  readAll,
  sorted,
  startClientTest,
  writeChunk,
} from '../support/client-chunks.ts'
import { until } from '../support/transport.ts'

const { blockBytes, chunkBytesMax } = limits
const MIB = 1_048_576
const twoOfThree = { replicas: 2, writeQuorum: 2 }

t.test('with all servers up', async (t) => {
  const test = await startClientTest(t, 3, { replicas: 3, writeQuorum: 2 })
  const { planner, addresses, key } = test
  const chunks = test.client()

  for (const size of [1, 5_000, blockBytes, blockBytes + 1, 5 * MIB + 3, chunkBytesMax]) {
    t.test(`a chunk of ${size} bytes comes back from each of its servers`, async (t) => {
      const plain = plaintext(size)
      const written = await writeChunk(chunks, key, plain)
      t.equal(written.length, size)
      t.same(sorted(written.servers), [1, 2, 3])
      for (const server of written.servers) {
        const got = await readAll(test, chunks, written, [server])
        t.ok(Buffer.compare(got, plain) === 0, `server ${server}`)
      }
      t.equal(chunks.heldBytes, 0, 'no memory is kept')
    })
  }

  t.test('any run of blocks comes back alone', async (t) => {
    const plain = plaintext(10 * blockBytes + 17)
    const written = await writeChunk(chunks, key, plain)
    const location = planner.location(written, written.servers)
    for (const [first, count] of [
      [0, 1],
      [3, 4],
      [10, 1],
      [9, 2],
    ] as const) {
      const blocks = await chunks.readBlocks(key, location, addresses, first, count)
      const wanted = plain.subarray(first * blockBytes, (first + count) * blockBytes)
      t.equal(blocks.length, count)
      t.ok(Buffer.compare(Buffer.concat(blocks), wanted) === 0, `${count} from ${first}`)
    }
    for (const [first, count] of [
      [0, 12],
      [11, 1],
      [0, 0],
      [-1, 1],
      [0.5, 1],
    ] as const) {
      const refused = chunks.readBlocks(key, location, addresses, first, count)
      await t.rejects(refused, { code: 'invalidArgument' })
    }
  })

  t.test('twenty chunks at once', async (t) => {
    const plains = Array.from({ length: 20 }, (_, i) => plaintext(200_000 + i))
    const written = await Promise.all(plains.map(async (plain) => writeChunk(chunks, key, plain)))
    t.equal(new Set(written.map(({ chunk }) => chunk)).size, 20)
    for (const [i, one] of written.entries()) {
      t.ok(Buffer.compare(await readAll(test, chunks, one), plains[i] ?? Buffer.alloc(0)) === 0)
    }
  })

  t.test("another file's key, another length or another id do not open a chunk", async (t) => {
    const written = await writeChunk(chunks, key, plaintext(100_000))
    const other = await writeChunk(chunks, key, plaintext(100_000))
    const location = planner.location(written, written.servers)
    const read = async (owner: InodeKey, where: typeof location): Promise<Uint8Array[]> =>
      chunks.readBlocks(owner, where, addresses, 0, 1)
    await t.rejects(read(InodeKey.generate(), location), { code: 'notAuthentic' })
    await t.rejects(read(key, { ...location, length: 100_001 }), { code: 'chunkTruncated' })
    await t.rejects(read(key, { ...location, chunk: other.chunk }), { code: 'ticketInvalid' })
    await t.rejects(read(key, { ...location, ticket: Buffer.alloc(64) }), { code: 'ticketInvalid' })
    await t.rejects(read(key, { ...location, servers: [77] }), { code: 'serverUnknown' })
    await t.rejects(read(key, { ...location, servers: [] }), { code: 'chunkMissing' })
  })

  t.test('a chunk that is given up is not kept, neither here nor there', async (t) => {
    const writer = await chunks.begin(key)
    await writer.append(plaintext(3 * MIB))
    t.ok(chunks.heldBytes > 3 * MIB)
    writer.abort()
    t.equal(chunks.heldBytes, 0)
    await t.rejects(writer.finish(), { code: 'cancelled' })
    t.throws(() => writer.append(Buffer.of(1)), { code: 'cancelled' })
    const { chunk } = writer
    const location = planner.location(
      { chunk, length: 3 * MIB, servers: [], ticket: Buffer.of() },
      [1],
    )
    const gone = async (): Promise<boolean> =>
      chunks.readBlocks(key, location, addresses, 0, 1).then(
        () => false,
        (error: { code?: string }) => error.code === 'chunkMissing',
      )
    t.ok(await gone())
  })

  t.test('an application that pauses holds no stream open, and still gets its chunk', async (t) => {
    const plain = plaintext(2 * MIB)
    const writer = await chunks.begin(key)
    await writer.append(plain.subarray(0, MIB))
    await sleep(6_500)
    await writer.append(plain.subarray(MIB))
    const written = await writer.finish()
    t.ok(Buffer.compare(await readAll(test, chunks, written), plain) === 0)
  })
})

t.test('memory for written data is bounded while servers take nothing', async (t) => {
  const test = await startClientTest(t, 2, twoOfThree)
  const writeBufferBytes = 80 * MIB
  const chunks = test.client({ writeBufferBytes })
  await writeChunk(chunks, test.key, plaintext(10))
  for (const { child } of test.servers) child.kill('SIGSTOP')
  const plain = plaintext(MIB)
  let highest = 0
  const writing = Array.from({ length: 3 }, async () => {
    const writer = await chunks.begin(test.key)
    for (let mib = 0; mib < 60; mib++) {
      await writer.append(plain)
      highest = Math.max(highest, chunks.heldBytes)
    }
    return writer.finish()
  })
  const done = Promise.all(writing)
  t.ok(await until(() => chunks.heldBytes > writeBufferBytes, 5_000), 'the budget is used up')
  await sleep(1_500)
  for (const { child } of test.servers) child.kill('SIGCONT')
  const written = await done
  t.equal(written.length, 3)
  t.ok(highest < writeBufferBytes + chunkBytesMax + 8 * MIB, `${highest} bytes at most`)
  t.equal(chunks.heldBytes, 0)
})
