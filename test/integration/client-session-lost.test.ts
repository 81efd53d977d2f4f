/**
 * What becomes of mutations when the server has ended the session meanwhile: it no longer knows what
 * it answered, so what may have taken effect is not repeated but reported.
 *
 * A metadata server keeps a session for a minute; the one here, of the test, forgets it at once.
 */
import t, { type Test } from 'tap'
import { methods } from '../../schema/methods.ts'
import { Dialer } from '../../schema/quic/dialer.ts'
import { listen } from '../../schema/quic/listener.ts'
import type { CreateRequest } from '../../schema/generated/metadata.ts'
import type { Connection } from '../../schema/rpc/api.ts'
import { MethodTable } from '../../schema/rpc/method-table.ts'
import { InodeKey } from '../../mount/crypto/inode-key.ts'
import { generateKey, wrapKey } from '../../mount/crypto/key-wrap.ts'
import { Device } from '../../mount/client/device.ts'
import { Session } from '../../mount/client/session.ts'
import { Certificates, silent, until } from '../support/transport.ts'
import { inodeWith, sealedAttributes } from '../support/inodes.ts'

const CLUSTER = Buffer.alloc(16, 5)
const root = InodeKey.generate()

const directory = sealedAttributes(root, { kind: 2, mode: 0o700, mtime: 0n })
const rootInode = inodeWith(1, directory, { nlink: 2 })

const createRequest = {
  parent: 1,
  token: Buffer.alloc(32),
  entry: Buffer.alloc(97),
  attributes: rootInode.attributes,
  inline: new Uint8Array(0),
  hold: false,
}

interface Forgetful {
  /** Session given to the next connection. */
  nextSession: number
  /** What to do with a create; returning answers it. */
  onCreate: (request: CreateRequest, connection: Connection) => Promise<void>
  readonly creates: CreateRequest[]
  readonly held: number[][]
  connections: number
  /** Whose session it says to be. */
  user: number
}

async function openSession(t: Test): Promise<{ session: Session; server: Forgetful }> {
  const server: Forgetful = {
    nextSession: 1,
    onCreate: async () => undefined,
    creates: [],
    held: [],
    connections: 0,
    user: 1,
  }
  const device = Device.generate()
  const masterKey = generateKey()
  const account = {
    userId: 1,
    user: 'alice',
    rootInode: 1,
    wrappedMasterKey: device.wrapMasterKey('alice', masterKey),
    wrappedRootKey: wrapKey(masterKey, { purpose: 'root by master', owner: 'alice' }, root.secret),
  }
  const service = new MethodTable()
  service.handle(methods.challenge, () => ({ nonce: Buffer.alloc(32), cluster: CLUSTER }))
  service.handle(methods.openSession, ({ held }) => {
    server.connections++
    server.held.push(held)
    const { nextSession: session, user: userId } = server
    const lease = { lease: 0, boot: Buffer.alloc(16) }
    const servers = { metadata: [], epoch: 1, epochProof: Buffer.alloc(0) }
    const policy = { replicas: 2, writeQuorum: 2 }
    return { session, account: { ...account, userId }, ...policy, ...lease, ...servers }
  })
  service.handle(methods.statfs, () => ({
    totalBytes: 1,
    freeBytes: 1,
    inodes: 1,
    quotaBytes: 0,
    usedBytes: 0,
  }))
  service.handle(methods.getInode, () => ({ inode: rootInode }))
  service.handle(methods.create, async (request, { connection }) => {
    server.creates.push(request)
    await server.onCreate(request, connection)
    return { inode: rootInode }
  })
  const certificates = await Certificates.create()
  const listener = await listen({
    address: '127.0.0.1:0',
    identity: await certificates.identity('metadata.dfs'),
    caPem: certificates.caPem,
    service,
    log: silent,
  })
  const dialer = new Dialer({ log: silent })
  const profile = {
    version: 1,
    cluster: CLUSTER.toString('hex'),
    addresses: [listener.address],
    caPem: certificates.caPem,
    user: 'alice',
    device: 1,
    ...device.toProfile(),
  }
  const session = await Session.open({ profile, dialer, log: silent })
  t.teardown(async () => {
    await session.close()
    await dialer.close()
    await listener.close(0)
  })
  return { session, server }
}

/** Loses the connection under a request that was received, once. */
function loseOnce(server: Forgetful): void {
  server.onCreate = async (_request, connection) => {
    server.onCreate = async () => undefined
    await connection.close()
  }
}

t.test('in the same session, a lost answer is asked for again with the same id', async (t) => {
  const { session, server } = await openSession(t)
  loseOnce(server)
  await session.mutate(methods.create, createRequest)
  const ids = server.creates.map(({ operation }) => operation.id)
  t.same(ids, [1, 1])
  await session.mutate(methods.create, createRequest)
  t.match(server.creates.at(-1)?.operation, { id: 2, answeredBelow: 2 })
})

t.test('in a new session it is not repeated, and the caller is told', async (t) => {
  const { session, server } = await openSession(t)
  loseOnce(server)
  server.nextSession = 2
  await t.rejects(session.mutate(methods.create, createRequest), {
    code: 'connectionLost',
    message: /not known whether it took effect/,
  })
  t.equal(server.creates.length, 1)
  await session.mutate(methods.create, createRequest)
  t.equal(server.creates.length, 2, 'the session goes on')
})

t.test('an idle session comes back by itself, with all that it holds', async (t) => {
  const { session, server } = await openSession(t)
  let connection: Connection | undefined
  server.onCreate = async (_request, used) => {
    connection = used
  }
  await session.mutate(methods.create, createRequest)
  session.held(7)
  session.held(7)
  session.held(8)
  session.release(8)
  await connection?.close()
  t.ok(await until(() => server.connections === 2))
  t.same(server.held.at(-1), [7, 7])
})

t.test("a server that takes the session for another user's is refused", async (t) => {
  const { session, server } = await openSession(t)
  loseOnce(server)
  server.user = 2
  await t.rejects(session.mutate(methods.create, createRequest), { code: 'connectionLost' })
  t.equal(server.creates.length, 1, 'nothing was sent in it')
})
