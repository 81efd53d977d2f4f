/**
 * Chunkservers that cheat, over the real transport: whatever they serve in place of a chunk, or say of
 * one that they were sent, the client takes it from an honest replica or refuses it.
 */
import t, { type Test } from 'tap'
import type { ServerAddress } from '../../schema/generated/common.ts'
import type { WriteChunkResponse } from '../../schema/generated/chunk.ts'
import type { PlanResponse } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { Dialer } from '../../schema/quic/dialer.ts'
import { listen } from '../../schema/quic/listener.ts'
import type { Method, ServerCall } from '../../schema/rpc/api.ts'
import { MethodTable } from '../../schema/rpc/method-table.ts'
import { limits } from '../../schema/wire/limits.ts'
import { InodeKey } from '../../mount/crypto/inode-key.ts'
import { Chunks } from '../../mount/client/chunk-client.ts'
import { ChunkserverPool } from '../../mount/client/chunkserver-pool.ts'
import { Planner, plaintext, readAll, writeChunk } from '../support/client-chunks.ts'
import { Certificates, silent } from '../support/transport.ts'

const { blockBytes, sealedBlockBytes } = limits

interface Stored {
  readonly header: Uint8Array
  readonly sealed: Buffer
}

/** A chunk service that keeps what it gets and gives what it likes. */
class Server {
  readonly chunks = new Map<number, Stored>()
  /** What is served in place of a chunk. */
  cheat: (stored: Stored) => Stored = (stored) => stored
  /** Sealed bytes that it says a chunk has. */
  claims: (stored: Stored) => number = ({ sealed }) => sealed.length
  acknowledge: (response: WriteChunkResponse) => WriteChunkResponse = (response) => response
  readonly service = new MethodTable()
  readonly #id: number

  constructor(id: number) {
    this.#id = id
    this.service.handle(methods.writeChunk, async ({ chunk, header, chain }, call) => {
      const sealed = await payload(call)
      this.chunks.set(chunk, { header, sealed })
      // The test keeps every chunk everywhere by itself.
      const servers = [this.#id, ...chain.map(({ id: behind }) => behind)]
      return this.acknowledge({ sealedBytes: sealed.length, servers, failed: [] })
    })
    this.service.handle(methods.readChunk, async ({ chunk, firstBlock, blockCount }, call) => {
      const stored = this.chunks.get(chunk)
      if (stored === undefined) throw new Error('the test reads what it wrote')
      const { header, sealed } = this.cheat(stored)
      call.respond({ header, sealedBytes: this.claims(stored) })
      const from = firstBlock * sealedBlockBytes
      await call.write(sealed.subarray(from, from + blockCount * sealedBlockBytes))
      return undefined
    })
  }
}

async function payload(call: ServerCall): Promise<Buffer> {
  const parts: Buffer[] = []
  for (;;) {
    const into = Buffer.allocUnsafe(sealedBlockBytes)
    const bytes = await call.read(into)
    if (bytes === 0) return Buffer.concat(parts)
    parts.push(into.subarray(0, bytes))
  }
}

interface Setup {
  readonly planner: Planner
  readonly servers: readonly [Server, Server]
  readonly addresses: readonly ServerAddress[]
  readonly key: InodeKey
  /** A client that remembers nothing of what servers did before. */
  readonly client: (session?: Planner) => Chunks
}

/** Server 1 cheats, server 2 is honest. */
async function setUp(t: Test): Promise<Setup> {
  const certificates = await Certificates.create()
  const servers = [new Server(1), new Server(2)] as const
  const addresses: ServerAddress[] = []
  for (const [index, { service }] of servers.entries()) {
    const id = index + 1
    const listener = await listen({
      address: '127.0.0.1:0',
      identity: await certificates.identity(`chunkserver-${id}.dfs`),
      caPem: certificates.caPem,
      service,
      log: silent,
    })
    t.teardown(async () => listener.close(0))
    addresses.push({ id, rack: 'r', addresses: [listener.address] })
  }
  const planner = new Planner({ replicas: 1, writeQuorum: 1, ticket: () => Buffer.alloc(64) })
  planner.servers = addresses
  const dialer = new Dialer({ log: silent })
  const client = (session = planner): Chunks => {
    const pool = new ChunkserverPool({ dialer, caPem: certificates.caPem, log: silent })
    return new Chunks({ session, pool, log: silent })
  }
  t.teardown(async () => dialer.close())
  return { planner, servers, addresses, key: InodeKey.generate(), client }
}

const LENGTH = 3 * blockBytes + 5
const setup = await setUp(t)
const { planner, servers, addresses, key } = setup
const [cheater, honest] = servers

/** Writes a chunk that both servers then have. */
async function store(plain: Uint8Array): ReturnType<typeof writeChunk> {
  const written = await writeChunk(setup.client(), key, plain)
  const stored = cheater.chunks.get(written.chunk)
  if (stored !== undefined) honest.chunks.set(written.chunk, stored)
  return written
}

const plain = plaintext(LENGTH)
const written = await store(plain)
const other = await store(plaintext(LENGTH))
const otherStored = (): Stored =>
  cheater.chunks.get(other.chunk) ?? { header: Buffer.of(), sealed: Buffer.of() }

/** The sealed blocks in another order; -1 is a block of zeros. */
const reordered = (sealed: Buffer, order: readonly number[]): Buffer =>
  Buffer.concat(
    order.map((index) =>
      index < 0
        ? Buffer.alloc(sealedBlockBytes)
        : sealed.subarray(index * sealedBlockBytes, (index + 1) * sealedBlockBytes),
    ),
  )

function flipped(bytes: Uint8Array, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy.writeUInt8(copy.readUInt8(at) ^ 0x80, at)
  return copy
}

interface Cheat {
  readonly why: string
  readonly cheat: (stored: Stored) => Stored
  readonly claims?: (stored: Stored) => number
  readonly code: string
}

const sealedOnly = (change: (sealed: Buffer) => Buffer) => (stored: Stored) => ({
  ...stored,
  sealed: change(stored.sealed),
})

const cheats: readonly Cheat[] = [
  {
    why: 'two blocks swapped',
    cheat: sealedOnly((s) => reordered(s, [1, 0, 2, 3])),
    code: 'notAuthentic',
  },
  {
    why: 'a block served twice',
    cheat: sealedOnly((s) => reordered(s, [0, 0, 2, 3])),
    code: 'notAuthentic',
  },
  {
    why: 'zeros for a block',
    cheat: sealedOnly((s) => reordered(s, [0, -1, 2, 3])),
    code: 'notAuthentic',
  },
  {
    why: 'a flipped bit in the middle',
    cheat: sealedOnly((s) => flipped(s, 100_000)),
    code: 'notAuthentic',
  },
  {
    why: 'a flipped bit in the last tag',
    cheat: sealedOnly((s) => flipped(s, s.length - 1)),
    code: 'notAuthentic',
  },
  {
    why: 'an end before the last block',
    cheat: sealedOnly((s) => s.subarray(0, 3 * sealedBlockBytes)),
    code: 'chunkTruncated',
  },
  {
    why: 'an end within a block',
    cheat: sealedOnly((s) => s.subarray(0, 1_000)),
    code: 'chunkTruncated',
  },
  { why: 'nothing at all', cheat: sealedOnly(() => Buffer.alloc(0)), code: 'chunkTruncated' },
  {
    why: 'another size claimed',
    cheat: (s) => s,
    claims: ({ sealed }) => sealed.length + 1,
    code: 'chunkTruncated',
  },
  { why: 'another chunk of the same file', cheat: otherStored, code: 'notAuthentic' },
  {
    why: "another chunk's header",
    cheat: (s) => ({ ...s, header: otherStored().header }),
    code: 'notAuthentic',
  },
  {
    why: 'a changed salt',
    cheat: (s) => ({ ...s, header: flipped(s.header, 20) }),
    code: 'notAuthentic',
  },
  {
    why: 'a header of another cipher',
    cheat: (s) => ({ ...s, header: flipped(s.header, 1) }),
    code: 'notSupported',
  },
  { why: 'no header', cheat: (s) => ({ ...s, header: Buffer.of() }), code: 'notAuthentic' },
]

for (const { why, cheat, claims, code } of cheats) {
  t.test(`${why}: refused, reported, and read from an honest replica`, async (t) => {
    cheater.cheat = cheat
    cheater.claims = claims ?? (({ sealed }) => sealed.length)
    planner.reports.length = 0
    const fresh = setup.client()
    await t.rejects(readAll(setup, fresh, written, [1]), { code })
    if (code !== 'notSupported') t.match(planner.reports, [{ chunk: written.chunk, server: 1 }])
    for (let round = 0; round < 3; round++) {
      t.ok(Buffer.compare(await readAll(setup, fresh, written, [1, 2]), plain) === 0)
    }
  })
}

/** A metadata server that gives one chunk number to everybody. */
class OneChunk extends Planner {
  override async read<Q, R>(method: Method<Q, R>, request: Q): Promise<R> {
    const response = await super.read(method, request)
    if (method.id !== methods.plan.id) return response
    const { plans } = response as PlanResponse
    return { plans: plans.map((given) => ({ ...given, chunk: 77 })) } as R
  }
}

t.test('two plaintexts under one chunk number share neither key nor key stream', async (t) => {
  const sealed: Stored[] = []
  for (const text of ['one plaintext', 'and another']) {
    const twice = new OneChunk({ replicas: 1, writeQuorum: 1, ticket: () => Buffer.alloc(64) })
    twice.servers = addresses
    await writeChunk(setup.client(twice), key, Buffer.alloc(LENGTH, text))
    const stored = cheater.chunks.get(77)
    if (stored !== undefined) sealed.push(stored)
  }
  const [first, second] = sealed
  if (first === undefined || second === undefined) throw new Error('the server kept no chunk 77')
  t.notOk(Buffer.from(first.header).equals(second.header), 'each has a salt of its own')
  const combined = (a: Buffer, b: Buffer): Buffer =>
    Buffer.from(a.subarray(0, 64).map((byte, i) => byte ^ b.readUInt8(i)))
  const plaintexts = combined(Buffer.alloc(64, 'one plaintext'), Buffer.alloc(64, 'and another'))
  t.notOk(combined(first.sealed, second.sealed).equals(plaintexts), 'and so a key of its own')
  cheater.chunks.set(77, { header: first.header, sealed: second.sealed })
  const location = { chunk: 77, length: LENGTH, servers: [1], ticket: Buffer.alloc(64) }
  await t.rejects(readAll(setup, setup.client(), location, [1]), { code: 'notAuthentic' })
})

t.test('a server cannot acknowledge for others, nor for bytes it did not keep', async (t) => {
  const strict = new Planner({ replicas: 1, writeQuorum: 1, ticket: () => Buffer.alloc(64) })
  strict.servers = addresses
  const lies: readonly ((response: WriteChunkResponse) => WriteChunkResponse)[] = [
    (response) => ({ ...response, servers: [2, 99] }),
    (response) => ({ ...response, servers: [] }),
    (response) => ({ ...response, sealedBytes: response.sealedBytes - 1 }),
  ]
  for (const lie of lies) {
    cheater.acknowledge = lie
    const result = await writeChunk(setup.client(strict), key, plain)
    t.same(result.servers, [2], 'stored where somebody answers for himself')
  }
  cheater.acknowledge = (response) => response
})

t.test('a server that never has a chunk durable is given up', async (t) => {
  cheater.acknowledge = (response) => ({ ...response, servers: [] })
  honest.acknowledge = (response) => ({ ...response, servers: [] })
  const abandoned = setup.client()
  const writer = await abandoned.begin(key)
  await writer.append(plain)
  const finishing = writer.finish()
  setTimeout(() => writer.abort(), 500)
  await t.rejects(finishing, { code: 'cancelled' })
  t.equal(abandoned.heldBytes, 0)
})
