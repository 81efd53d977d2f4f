/**
 * Chunkserver processes over the real transport: joining, writing through a chain, reading, and
 * what is refused.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { methods } from '../../schema/methods.ts'
import { limits } from '../../schema/wire/limits.ts'
import { Rights } from '../../server/ticket.ts'
import { ChunkserverTest, header, type ServerProcess } from '../support/chunkservers.ts'
import { until } from '../support/transport.ts'

const BLOCK = limits.sealedBlockBytes

t.setTimeout(120_000)

const test = await ChunkserverTest.create(t)
const base = t.testdir()
const servers: ServerProcess[] = []
for (const id of [1, 2, 3]) {
  const directory = join(base, `server-${id}`)
  mkdirSync(directory)
  servers.push(await test.start(directory))
  await test.alive(id)
}
const [one, two, three] = servers as [ServerProcess, ServerProcess, ServerProcess]
const address = (server: ServerProcess, id: number) => ({
  id,
  rack: 'r1',
  addresses: [server.address],
})
const first = test.peer(one.address, 1)

t.test('joins once: certificate and key are kept, readable by the owner only', async (t) => {
  const folder = join(one.directory, 'identity')
  t.same(readdirSync(folder).sort(), [
    'ca.pem',
    'certificate.pem',
    'private-key.pem',
    'server.json',
  ])
  t.equal(statSync(join(folder, 'private-key.pem')).mode & 0o777, 0o600)
  t.match(JSON.parse(readFileSync(join(folder, 'server.json'), 'utf8')), { server: 1 })
  t.equal(test.registered.get(1)?.rack, 'r1')
  t.same(test.registered.get(1)?.addresses, [one.address])
})

for (const size of [1, 1_000, BLOCK, BLOCK + 1, 4 * BLOCK, 4 * BLOCK + 5, 1_024 * BLOCK]) {
  t.test(
    `a chunk of ${size} bytes comes back as it was, from each server of its chain`,
    async (t) => {
      const chunk = 1_000_000 + size
      const bytes = randomBytes(size)
      const chain = [address(two, 2), address(three, 3)]
      const answer = await test.write(first, chunk, bytes, { chain })
      t.same(answer, { sealedBytes: size, servers: [1, 2, 3], failed: [] })
      for (const [at, server] of servers.entries()) {
        const got = await test.read(test.peer(server.address, at + 1), chunk)
        t.ok(got.bytes.equals(bytes), `server ${at + 1}`)
        t.ok(header.equals(got.header))
        t.equal(got.sealedBytes, size)
      }
    },
  )
}

t.test('reads any range of blocks', async (t) => {
  const bytes = randomBytes(20 * BLOCK + 100)
  await test.write(first, 50, bytes)
  for (const [firstBlock, blockCount] of [
    [0, 1],
    [3, 1],
    [3, 8],
    [3, 9],
    [20, 1],
    [15, 100],
    [2, 0],
  ] as const) {
    const end = blockCount === 0 ? bytes.length : (firstBlock + blockCount) * BLOCK
    const got = await test.read(first, 50, { firstBlock, blockCount })
    t.ok(got.bytes.equals(bytes.subarray(firstBlock * BLOCK, end)), `${firstBlock}+${blockCount}`)
  }
  await t.rejects(test.read(first, 50, { firstBlock: 21 }), { code: 'invalidArgument' })
})

t.test('the same chunk again succeeds, other content under its id does not', async (t) => {
  for (const size of [100, 3 * BLOCK]) {
    const chunk = 60 + size
    const bytes = randomBytes(size)
    const chain = [address(two, 2)]
    await test.write(first, chunk, bytes, { chain })
    const again = await test.write(first, chunk, bytes, { chain })
    t.same(again, { sealedBytes: size, servers: [1, 2], failed: [] })
    const other = Buffer.from(bytes)
    other.writeUInt8(other.readUInt8(50) ^ 1, 50)
    await t.rejects(test.write(first, chunk, other), { code: 'chunkExists' })
    await t.rejects(test.write(first, chunk, bytes.subarray(1)), { code: 'chunkExists' })
    await t.rejects(test.write(first, chunk, bytes, { header: Buffer.alloc(40) }), {
      code: 'chunkExists',
    })
    t.ok((await test.read(first, chunk)).bytes.equals(bytes))
  }
})

t.test('refuses without the right ticket', async (t) => {
  const bytes = randomBytes(10)
  const write = (ticket: Uint8Array) => test.write(first, 70, bytes, { ticket })
  await t.rejects(write(test.ticket(71, Rights.write)), { code: 'ticketInvalid' })
  await t.rejects(write(test.ticket(70, Rights.read)), { code: 'ticketInvalid' })
  await t.rejects(write(test.ticket(70, Rights.write, { keyId: 9 })), { code: 'ticketInvalid' })
  await t.rejects(write(test.ticket(70, Rights.write, { expiresMs: Date.now() - 1 })), {
    code: 'ticketExpired',
  })
  const forged = Buffer.from(test.ticket(70, Rights.write))
  forged.writeUInt8(forged.readUInt8(50) ^ 1, 50)
  await t.rejects(write(forged), { code: 'ticketInvalid' })
  await t.rejects(write(Buffer.alloc(3)), { code: 'ticketInvalid' })
  await test.write(first, 70, bytes)
  await t.rejects(test.read(first, 70, { ticket: test.ticket(70, Rights.write) }), {
    code: 'ticketInvalid',
  })
})

const malformed = [
  { why: 'no block at all', bytes: 0, more: {} },
  { why: 'a header that is too long', bytes: 9, more: { header: Buffer.alloc(65) } },
  { why: 'no header', bytes: 9, more: { header: Buffer.alloc(0) } },
  { why: 'a chain with itself in it', bytes: 9, more: { chain: [address(one, 1)] } },
  {
    why: 'a chain with a server twice',
    bytes: 9,
    more: { chain: [address(two, 2), address(two, 2)] },
  },
  {
    why: 'a chain without address',
    bytes: 9,
    more: { chain: [{ id: 2, rack: '', addresses: [] }] },
  },
]
for (const { why, bytes, more } of malformed) {
  t.test(`refuses ${why} and stores nothing`, async (t) => {
    await t.rejects(test.write(first, 80, Buffer.alloc(bytes), more), { code: 'invalidArgument' })
    await t.rejects(test.read(first, 80), { code: 'chunkMissing' })
  })
}

t.test('a chain that cannot be reached is skipped, and named in the answer', async (t) => {
  const nobody = { id: 9, rack: 'r1', addresses: ['127.0.0.1:9'] }
  const bytes = randomBytes(3 * BLOCK)
  const chain = [nobody, address(three, 3)]
  const answer = await test.write(first, 90, bytes, { chain })
  t.same(answer.servers, [1, 3])
  t.match(answer.failed, [{ server: 9, status: 1007 }])
  t.ok((await test.read(test.peer(three.address, 3), 90)).bytes.equals(bytes))
})

t.test('a server with the wrong identity gets nothing', async (t) => {
  const impostor = { ...address(two, 7) }
  const answer = await test.write(first, 91, randomBytes(2 * BLOCK), { chain: [impostor] })
  t.same(answer.servers, [1])
  t.match(answer.failed, [{ server: 7, status: 1008 }])
  await t.rejects(test.read(test.peer(two.address, 2), 91), { code: 'chunkMissing' })
})

t.test('a write given up half-way leaves nothing, here and down the chain', async (t) => {
  const call = await first.open(methods.writeChunk, {
    chunk: 92,
    ticket: test.ticket(92, Rights.write),
    header,
    chain: [address(two, 2)],
  })
  call.response.catch(() => undefined)
  await call.write(randomBytes(40 * BLOCK))
  const incoming = (server: ServerProcess) => readdirSync(join(server.directory, 'chunks/incoming'))
  t.ok(await until(() => incoming(one).length > 0 && incoming(two).length > 0), 'under way on both')
  call.cancel()
  t.ok(await until(() => incoming(one).length + incoming(two).length === 0), 'removed on both')
  await t.rejects(test.read(first, 92), { code: 'chunkMissing' })
  // The id is free again.
  await test.write(first, 92, randomBytes(2 * BLOCK), { chain: [address(two, 2)] })
})

t.test('orders to delete are carried out and reported; repeated ones too', async (t) => {
  await test.write(first, 95, randomBytes(10))
  await test.write(first, 96, randomBytes(3 * BLOCK))
  const reported = () => new Set((test.heartbeats.get(1) ?? []).flatMap(({ deleted }) => deleted))
  test.orders.set(1, [{ deletes: [95, 96, 97] }])
  t.ok(await until(() => [95, 96, 97].every((chunk) => reported().has(chunk))))
  await t.rejects(test.read(first, 95), { code: 'chunkMissing' })
  await t.rejects(test.read(first, 96), { code: 'chunkMissing' })
  test.heartbeats.delete(1)
  test.orders.set(1, [{ deletes: [96] }])
  t.ok(await until(() => reported().has(96)))
})

t.test('goes on serving while the metadata server is away, and comes back to it', async (t) => {
  await test.stopMetadata()
  const bytes = randomBytes(2 * BLOCK)
  await test.write(first, 98, bytes, { chain: [address(two, 2)] })
  t.ok((await test.read(first, 98)).bytes.equals(bytes))
  test.registered.clear()
  await test.startMetadata()
  t.ok(await until(() => test.registered.size === 3, 15_000), 'all registered again')
  await test.alive(1)
})

t.test(
  'a damaged block is refused, logged, reported, and the rest of the store unharmed',
  async (t) => {
    const bytes = randomBytes(30 * BLOCK)
    await test.write(first, 4_096, bytes)
    const path = join(one.directory, 'chunks/00/01', (4_096).toString(16).padStart(16, '0'))
    const file = readFileSync(path)
    file.writeUInt8(file.readUInt8(25 * BLOCK + 7) ^ 4, 25 * BLOCK + 7)
    writeFileSync(path, file)
    t.equal((await test.read(first, 4_096, { blockCount: 25 })).bytes.length, 25 * BLOCK)
    await t.rejects(test.read(first, 4_096, { firstBlock: 25, blockCount: 1 }), {
      code: 'chunkCorrupt',
    })
    t.ok(await until(() => test.lastHeartbeat(1)?.damaged.includes(4_096) === true), 'reported')
    t.match(one.stderr, /damaged and not served/)
    t.match(one.stderr, /0000000000001000/)
    await t.rejects(test.read(first, 4_096, { blockCount: 1 }), { code: 'chunkCorrupt' })
    t.equal((await test.read(first, 98)).sealedBytes, 2 * BLOCK)
  },
)

t.test('ends by SIGTERM with exit code 0 and starts again with all chunks', async (t) => {
  t.equal(await three.kill('SIGTERM'), 0)
  const again = await test.start(three.directory)
  await test.alive(3)
  const got = await test.read(test.peer(again.address, 3), 90)
  t.equal(got.sealedBytes, 3 * BLOCK)
})

t.test('a second server on the same directory says so and ends', async (t) => {
  const second = test.launch(one.directory)
  t.not(await second.exited, 0)
  t.match(second.stderr, /stop it first/)
})
