import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { limits } from '../../../../schema/wire/limits.ts'
import { chunkPath } from '../../../../server/chunkserver/chunk-file-writer.ts'
import { DiskChunkStore } from '../../../../server/chunkserver/disk-chunk-store.ts'
import { Scrub } from '../../../../server/chunkserver/scrub.ts'
import { get, put } from '../../../support/chunk-store-conformance.ts'
import { silent, until } from '../../../support/transport.ts'

const BLOCK = limits.sealedBlockBytes
const GIB = 1_073_741_824

const openStore = (directory: string) =>
  DiskChunkStore.open({ directory, log: silent, onFailure: (error) => t.fail(error.message) })

t.test('finds damage that nobody reads, and nothing else', async (t) => {
  const store = await openStore(t.testdir())
  for (const chunk of [1, 2, 3]) await put(store, chunk, randomBytes(20 * BLOCK))
  await put(store, 4, randomBytes(100))
  const path = chunkPath(store.paths, 2)
  const file = readFileSync(path)
  file.writeUInt8(file.readUInt8(17 * BLOCK) ^ 1, 17 * BLOCK)
  writeFileSync(path, file)
  const scrub = new Scrub({ store, bytesPerSecond: GIB, load: () => 0, log: silent })
  scrub.start()
  t.ok(await until(() => scrub.rounds === 1), 'a whole round')
  await scrub.stop()
  t.same(await store.damaged(0, 9), [2])
  for (const chunk of [1, 3, 4]) await get(store, chunk)
  await t.rejects(get(store, 2), { code: 'chunkCorrupt' })
  await store.close()
})

t.test('keeps to its rate, slower under load, and goes on where it was', async (t) => {
  const directory = t.testdir()
  const store = await openStore(directory)
  const bytes = randomBytes(8 * BLOCK)
  for (let chunk = 1; chunk <= 4; chunk++) await put(store, chunk, bytes)
  const bytesPerSecond = bytes.length * 10
  const slow = new Scrub({ store, bytesPerSecond, load: () => 0, log: silent })
  slow.start()
  await new Promise((resolve) => setTimeout(resolve, 250))
  await slow.stop()
  const state = await store.index.scrubState()
  const next = state?.nextChunk ?? 0
  t.ok(next >= 2 && next <= 4, `after 250 ms at 100 ms a chunk it is at ${next}`)
  t.equal(slow.rounds, 0)
  await store.close()

  const again = await openStore(directory)
  const rest = new Scrub({ store: again, bytesPerSecond, load: () => 1, log: silent })
  const start = performance.now()
  rest.start()
  t.ok(await until(() => rest.rounds === 1))
  await rest.stop()
  const ms = performance.now() - start
  const wanted = (5 - next) * 400
  t.ok(
    ms > wanted * 0.9 && ms < wanted + 400,
    `${ms} ms for the rest under load, ${wanted} planned`,
  )
  await again.close()
})
