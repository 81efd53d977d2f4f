/**
 * The metadata server's operations on a real store, without a network: users, sessions and
 * chunkservers are made by the operations themselves, on connections that carry nothing.
 */
import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import type { Test } from 'tap'
import type { Attributes } from '../../schema/generated/common.ts'
import type { CreateRequest, NewChunk } from '../../schema/generated/metadata.ts'
import type { Connection } from '../../schema/rpc/api.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { sessionProof } from '../../schema/wire/session-proof.ts'
import { createAuthority } from '../../server/identity/certificates.ts'
import { Clock } from '../../server/metadata/clock.ts'
import { openServices } from '../../server/metadata/open-services.ts'
import { addDevice } from '../../server/metadata/operations/add-device.ts'
import { addUser } from '../../server/metadata/operations/administration.ts'
import { create } from '../../server/metadata/operations/create.ts'
import { challenge, openSession } from '../../server/metadata/operations/open-session.ts'
import type { Mutation, Query } from '../../server/metadata/operations/operation.ts'
import { plan } from '../../server/metadata/operations/plan.ts'
import { nextSmallId } from '../../server/metadata/operations/small-ids.ts'
import { registerFinish } from '../../server/metadata/operations/register-user.ts'
import { replay } from '../../server/metadata/replay.ts'
import { stateOf, type Caller, type Services } from '../../server/metadata/services.ts'
import { Database } from '../../server/metadata/store/database.ts'
import { keys } from '../../server/metadata/store/keys.ts'
import { tables } from '../../server/metadata/store/tables.ts'
import type { OrderedStore } from '../../server/store/ordered-store.ts'
import { openRocksStore } from '../../server/store/rocks-store.ts'
import { unsealed } from './inodes.ts'
import { silent } from './transport.ts'

export const NO_BYTES = new Uint8Array(0)
const authority = await createAuthority()

/** A token as clients make them: 32 bytes that say nothing. */
export const token = (name: string): Uint8Array =>
  createHmac('sha256', 'a name key').update(name).digest()

export const entry = (name: string): Uint8Array => Buffer.from(`sealed ${name}`)

/** Attributes of a new inode; 1 is a file, 2 a directory. */
export function attributes(kind: number, more: Partial<Attributes> = {}): Attributes {
  const whose = { kind, uid: 1000, gid: 1000, mtime: 5n }
  return { ...unsealed(whose), seal: Buffer.alloc(32, 7), ...more }
}

/** A connection with a state and an address; ends when told. */
export function connection(address = '192.0.2.1:4000'): Connection & { end(): void } {
  let end = (): void => undefined
  const closed = new Promise<undefined>((resolve) => (end = () => resolve(undefined)))
  const unused = (): never => invariant(false, 'nothing is called over this connection') as never
  return {
    peer: { name: undefined, address },
    state: undefined,
    call: unused,
    open: unused,
    closed,
    close: async () => end(),
    stats: unused,
    end,
  }
}

/** A user with a device. */
export interface TestUser {
  readonly user: number
  readonly name: string
  readonly root: number
  readonly device: number
  readonly key: KeyObject
}

/** A session of a user on a connection. */
export class TestSession {
  readonly caller: Caller
  readonly #services: Services
  #operation = 0

  constructor(services: Services, caller: Caller) {
    this.#services = services
    this.caller = caller
  }

  get id(): number {
    return this.caller.session.record.session
  }

  /** The next operation id; all before it count as answered. */
  operation(): { id: number; answeredBelow: number } {
    const id = ++this.#operation
    return { id, answeredBelow: id }
  }

  async mutate<Q extends { operation: { id: number; answeredBelow: number } }, R>(
    mutation: Mutation<Q, R>,
    request: Omit<Q, 'operation'> & { operation?: Q['operation'] },
  ): Promise<R> {
    const full = { operation: this.operation(), ...request } as unknown as Q
    mutation.check?.(full)
    return replay(mutation, full, this.caller, this.#services)
  }

  async query<Q, R>(query: Query<Q, R>, request: Q): Promise<R> {
    query.check?.(request)
    return this.#services.database.read((txn) =>
      query.run(txn, request, this.caller, this.#services),
    )
  }

  /** Creates something and returns its inode number. */
  async make(parent: number, name: string, more: Partial<CreateRequest> = {}): Promise<number> {
    const { inode } = await this.mutate(create, {
      parent,
      token: token(name),
      entry: entry(name),
      attributes: attributes(1),
      inline: NO_BYTES,
      hold: false,
      ...more,
    })
    return inode.inode
  }

  async makeDirectory(parent: number, name: string): Promise<number> {
    return this.make(parent, name, { attributes: attributes(2) })
  }

  /** A chunk as if it had been written to the servers of its plan. */
  async chunk(length: number): Promise<NewChunk> {
    const { plans } = await this.query(plan, {
      count: 1,
      exclude: [],
      chunk: 0,
      ticket: NO_BYTES,
    })
    const [planned] = plans
    invariant(planned !== undefined, 'one plan was asked for')
    const { chunk, ticket, servers } = planned
    return { chunk, length, servers: servers.map(({ id }) => id), ticket }
  }
}

export class TestMetadata {
  readonly store: OrderedStore
  readonly services: Services
  /** Milliseconds that the clock is ahead. */
  readonly time: { ms: number }

  constructor(store: OrderedStore, services: Services, time: { ms: number }) {
    this.store = store
    this.services = services
    this.time = time
  }

  /** Two replicas, both asked for, on three chunkservers in two racks. */
  static async open(t: Test, dir = t.testdir()): Promise<TestMetadata> {
    const metadata = await TestMetadata.reopen(dir)
    t.teardown(() => metadata.close())
    await metadata.addServers()
    return metadata
  }

  /** Opens what another one closed. */
  static async reopen(dir: string): Promise<TestMetadata> {
    const store = await openRocksStore(dir)
    try {
      return await TestMetadata.on(store)
    } catch (error) {
      // Left open, it may still write into a folder that is being removed.
      await store.close()
      throw error
    }
  }

  /** On a store of any engine. */
  static async on(store: OrderedStore): Promise<TestMetadata> {
    const time = { ms: 0 }
    const database = await Database.open(store, {
      cacheBytes: 4 * 1_048_576,
      onFailure(error) {
        throw error
      },
    })
    const policy = { cluster: Buffer.alloc(16, 3), replicas: 2, writeQuorum: 2 }
    const clock = new Clock(() => Date.now() + time.ms)
    const services = await openServices(database, { policy, authority, log: silent, clock })
    await services.purger.start(services.holds)
    return new TestMetadata(store, services, time)
  }

  #closed: Promise<void> | undefined

  async close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.services.userRemoval.stop()
    await this.services.purger.stop()
    await this.services.database.close()
  }

  async addServers(): Promise<void> {
    const { database, topology, clock } = this.services
    for (const rack of ['a', 'b', 'a']) {
      const id = await database.write({}, (txn) => nextSmallId(txn, 'servers'))
      const record = {
        id,
        rack,
        addresses: [`h${id}:1`],
        joined: clock.nowNs(),
        totalBytes: 1e12,
        revoked: false,
        lost: false,
        draining: false,
        store: Buffer.of(id),
      }
      await database.write({}, (txn) => txn.put(tables.servers, keys.server(id), record))
      topology.put(record)
      const { addresses } = record
      const space = { totalBytes: 1e12, freeBytes: 1e12, chunks: 0 }
      topology.registered(id, { rack, addresses, ...space })
    }
  }

  /** All chunkservers say hello, as after a restart. */
  registerServers(): void {
    const { topology } = this.services
    for (const { record } of topology.all()) {
      const { id, rack, addresses } = record
      topology.registered(id, { rack, addresses, totalBytes: 1e12, freeBytes: 1e12, chunks: 0 })
    }
  }

  /** Invites and registers a user, and adds a device. */
  async addUser(name: string, quotaBytes = 0): Promise<TestUser> {
    const { invitation } = await addUser({ user: name, quotaBytes, validSeconds: 0 }, this.services)
    // Everybody from a machine of their own: logins are counted by address.
    const link = connection(`machine-of-${name}:4000`)
    const opaqueRecord = `record of ${name}`
    const { userId, rootInode } = await registerFinish(
      {
        invitation,
        user: name,
        opaqueRecord,
        recoveryKey: NO_BYTES,
        recoveryMasterKey: NO_BYTES,
        wrappedMasterKey: Buffer.from('wrapped master key'),
        wrappedRootKey: Buffer.from('wrapped root key'),
        root: attributes(2),
      },
      link,
      this.services,
    )
    stateOf(link).proof = { by: 'password', user: userId, record: opaqueRecord }
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const jwk = publicKey.export({ format: 'jwk' })
    const { device } = await addDevice(
      {
        name: 'a device',
        publicKey: Buffer.from(String(jwk.x), 'base64url'),
        wrappedMasterKey: Buffer.from('wrapped by the device'),
      },
      link,
      this.services,
    )
    return { user: userId, name, root: rootInode, device, key: privateKey }
  }

  /** Opens a session, or takes one up again. */
  async session(
    { device, key }: TestUser,
    link: Connection = connection(),
    { session = 0, held = [] }: { session?: number; held?: number[] } = {},
  ): Promise<TestSession> {
    const { nonce, cluster } = challenge(link, this.services)
    const signature = sign(null, sessionProof(cluster, nonce, device), key)
    const epoch = { epoch: 0, epochProof: NO_BYTES }
    await openSession({ device, signature, session, held, ...epoch }, link, this.services)
    const { caller } = stateOf(link)
    invariant(caller !== undefined, 'a session was opened')
    return new TestSession(this.services, caller)
  }

  /** A user with a session. */
  async user(name: string, quotaBytes = 0): Promise<{ user: TestUser; session: TestSession }> {
    const user = await this.addUser(name, quotaBytes)
    return { user, session: await this.session(user) }
  }
}
