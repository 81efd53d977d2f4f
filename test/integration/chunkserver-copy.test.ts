/**
 * Chunkservers make replicas of each other's chunks, as the metadata server asks: whole or not at
 * all, from a good source only, at a bounded rate.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readdirSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { methods } from '../../schema/methods.ts'
import type { Connection } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { STATUS } from '../../schema/wire/status.ts'
import { chunkDirectory, chunkFileName } from '../../server/chunkserver/chunk-format.ts'
import { Rights } from '../../server/ticket.ts'
import { ChunkserverTest, type ServerProcess } from '../support/chunkservers.ts'
import { until } from '../support/transport.ts'

const BLOCK = limits.sealedBlockBytes

t.setTimeout(90_000)

async function two(t: Test, ...args: string[]) {
  const test = await ChunkserverTest.create(t)
  const base = t.testdir()
  const servers: ServerProcess[] = []
  for (const id of [1, 2]) {
    mkdirSync(join(base, `s${id}`))
    servers.push(await test.start(join(base, `s${id}`), ...args))
    await test.alive(id)
  }
  const [source, target] = servers as [ServerProcess, ServerProcess]
  const link = (id: number): Connection => {
    const connection = test.connections.get(id)
    if (connection === undefined) throw new Error(`chunkserver ${id} is not connected`)
    return connection
  }
  const copy = async (chunk: number, more: { ticket?: Uint8Array } = {}) =>
    link(2).call(methods.copyChunk, {
      chunk,
      ticket: more.ticket ?? test.ticket(chunk, Rights.read),
      source: { id: 1, rack: 'r1', addresses: [source.address] },
    })
  return {
    test,
    source,
    target,
    link,
    copy,
    from: test.peer(source.address, 1),
    to: test.peer(target.address, 2),
  }
}

const incoming = ({ directory }: ServerProcess): string[] =>
  readdirSync(join(directory, 'chunks', 'incoming'))

const fileOf = ({ directory }: ServerProcess, chunk: number): string =>
  join(directory, 'chunks', chunkDirectory(chunk), chunkFileName(chunk))

function overwrite(path: string, at: number): void {
  const fd = openSync(path, 'r+')
  writeSync(fd, randomBytes(16), 0, 16, at)
  closeSync(fd)
}

t.test('a replica has the bytes and the header of its source', async (t) => {
  const { test, copy, from, to, link } = await two(t)
  const sizes = [1, BLOCK, 4 * BLOCK, 4 * BLOCK + 1, 33 * BLOCK + 9]
  for (const [at, size] of sizes.entries()) {
    const chunk = at + 1
    const bytes = randomBytes(size)
    await test.write(from, chunk, bytes)
    t.same(await copy(chunk), { sealedBytes: size, sourceStatus: 0, detail: '' })
    const read = await test.read(to, chunk)
    t.ok(read.bytes.equals(bytes), `${size} bytes`)
    t.same(read.header, (await test.read(from, chunk)).header)
    t.match(await copy(chunk), { sealedBytes: size }, 'asked for again it is there')
  }
  const chunks = [1, 2, 3, 4, 5, 77]
  t.same(await link(2).call(methods.checkChunks, { chunks, verify: false }), { bad: [77] })
  t.same(await link(2).call(methods.checkChunks, { chunks, verify: true }), { bad: [77] })
})

t.test('a damaged or missing chunk is no source, and a forged ticket opens nothing', async (t) => {
  const { test, source, target, copy, from, to } = await two(t)
  await test.write(from, 1, randomBytes(40 * BLOCK))
  overwrite(fileOf(source, 1), 35 * BLOCK)
  t.match(await copy(1), { sealedBytes: 0 }, 'found damaged on its way')
  t.match(await copy(1), { sealedBytes: 0, sourceStatus: STATUS.chunkCorrupt.wire })
  t.match(await copy(2), { sealedBytes: 0, sourceStatus: STATUS.chunkMissing.wire })
  await test.write(from, 3, randomBytes(10))
  const forged = await copy(3, { ticket: test.ticket(4, Rights.read) })
  t.match(forged, { sealedBytes: 0, sourceStatus: STATUS.ticketInvalid.wire })
  for (const chunk of [1, 2, 3]) await t.rejects(test.read(to, chunk), { code: 'chunkMissing' })
  t.same(incoming(target), [])
  const client = await from.open(methods.fetchChunk, {
    chunk: 3,
    ticket: test.ticket(3, Rights.read),
  })
  client.end()
  await t.rejects(client.response, { code: 'forbidden' }, 'clients are served by readChunk only')
})

t.test('a damaged copy is found when it is read, and replaced in its place', async (t) => {
  const { test, target, copy, from, to, link } = await two(t)
  const bytes = randomBytes(9 * BLOCK)
  await test.write(from, 1, bytes)
  await copy(1)
  overwrite(fileOf(target, 1), 8 * BLOCK)
  const check = { chunks: [1] }
  t.same(await link(2).call(methods.checkChunks, { ...check, verify: false }), { bad: [] })
  t.same(await link(2).call(methods.checkChunks, { ...check, verify: true }), { bad: [1] })
  t.ok(await until(() => test.lastHeartbeat(2)?.damaged.includes(1) === true), 'and reported')
  t.match(await copy(1), { sealedBytes: bytes.length })
  t.ok((await test.read(to, 1)).bytes.equals(bytes))
  t.same(await link(2).call(methods.checkChunks, { ...check, verify: true }), { bad: [] })
})

t.test('copies keep to their rate, and users are served meanwhile', async (t) => {
  const { test, copy, from, to } = await two(t, '--copy-rate=4M')
  const size = 160 * BLOCK
  await test.write(from, 1, randomBytes(size))
  await test.write(from, 2, randomBytes(size))
  const startedMs = performance.now()
  const copies = Promise.all([copy(1), copy(2)])
  const bytes = randomBytes(BLOCK)
  await test.write(to, 3, bytes, {
    chain: [{ id: 1, rack: 'r1', addresses: [from.connection?.peer.address ?? ''] }],
  })
  t.ok((await test.read(from, 3)).bytes.equals(bytes))
  t.ok(performance.now() - startedMs < 4_000, 'a write between the two did not wait')
  await copies
  const seconds = (performance.now() - startedMs) / 1_000
  t.ok(seconds > 4.5, `20 MiB at 4 MiB/s took ${seconds.toFixed(1)} s`)
})

t.test('a source or a metadata server that dies leaves nothing behind', async (t) => {
  const { test, source, target, copy, from, to } = await two(t, '--copy-rate=2M')
  await test.write(from, 1, randomBytes(400 * BLOCK))
  const first = copy(1)
  t.ok(await until(() => incoming(target).length === 1))
  await test.stopMetadata()
  await t.rejects(first)
  t.ok(await until(() => incoming(target).length === 0), 'nobody waits for it any more')
  await test.startMetadata()
  await test.alive(2)
  const second = copy(1)
  t.ok(await until(() => incoming(target).length === 1))
  await source.kill('SIGKILL')
  t.match(await second, { sealedBytes: 0 })
  t.same(incoming(target), [])
  await t.rejects(test.read(to, 1), { code: 'chunkMissing' })
})
