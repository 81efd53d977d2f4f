/**
 * The session with the metadata server: opened by the device's key on each new connection, taken up
 * again after a lost one, also across the server's restarts.
 *
 * Reads are repeated while their deadline lasts. Mutations carry an operation id and are repeated
 * with the same id, so that they take effect exactly once, or fail; only when the server has ended
 * the session meanwhile does a mutation whose answer was lost fail without it being known whether it
 * took effect, and says so.
 */
import { setMaxListeners } from 'node:events'
import { performance } from 'node:perf_hooks'
import type { Operation } from '../../schema/generated/common.ts'
import type { OpenSessionResponse } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import type { Peer } from '../../schema/quic/api.ts'
import type { Dialer } from '../../schema/quic/dialer.ts'
import type { CallOptions, Connection, Log, Method } from '../../schema/rpc/api.ts'
import { MethodTable } from '../../schema/rpc/method-table.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { NONCE_BYTES } from '../../schema/wire/session-proof.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import { unwrapRootKey } from './account.ts'
import type { MetadataSession } from './api.ts'
import { Device } from './device.ts'
import { holdsAt, type Holds } from './holds.ts'
import { KnownServers, type ServersKnown } from './known-servers.ts'
import { Lease } from './lease.ts'
import { Liveness } from './liveness.ts'
import { Operations, type OpenOperation } from './operations.ts'
import { isAnswer, mayPass, outcomeUnknown } from './outcomes.ts'
import type { Profile } from './profile.ts'
import { pauseFor, pauseMs, retried } from './retry.ts'
import { metadataServerName } from './server-names.ts'

/** Milliseconds for which a mutation is repeated before it fails. */
const MUTATION_DEADLINE_MS = 30_000
/** Milliseconds that closing waits for the last releases. */
const CLOSE_MS = 2_000
/** Holds that one announcement carries: 8 bytes each, and the request has its bound. */
const HELD_ANNOUNCED_MAX = 100_000

interface OpenOptions {
  readonly profile: Profile
  readonly dialer: Dialer
  readonly log: Log
  /** Told when the metadata servers or their epoch have changed. */
  readonly onServers?: (known: ServersKnown) => void
}

/** What the server told when the session was opened first; it stays so. */
interface Opened {
  readonly userId: number
  readonly rootInode: number
  readonly rootKey: InodeKey
}

export class Session implements MetadataSession {
  readonly lease = new Lease()
  readonly #profile: Profile
  readonly #device: Device
  readonly #log: Log
  readonly #peer: Peer
  readonly #holds: Holds
  readonly #liveness: Liveness
  readonly #operations = new Operations()
  readonly #closing = new AbortController()
  readonly #servers: KnownServers
  #session = 0
  #opened: Opened | undefined
  #replicas = 0
  #writeQuorum = 0
  #reconnecting = false

  private constructor({ profile, dialer, log, onServers }: OpenOptions) {
    // Each call that waits to be repeated listens; their number is bounded by whoever calls.
    setMaxListeners(0, this.#closing.signal)
    const { addresses, epoch = 0, epochProof = '' } = profile
    this.#servers = new KnownServers(
      { addresses, epoch, epochProof: Buffer.from(epochProof, 'base64') },
      (known) => onServers?.(known),
    )
    this.#profile = profile
    this.#device = Device.fromProfile(profile)
    this.#log = log
    this.#holds = holdsAt(() => this.#peer.connection, log)
    this.#liveness = new Liveness(() => this.#peer, log)
    this.#peer = dialer.peer({
      addresses: () => this.#servers.known.addresses,
      serverName: metadataServerName,
      caPem: profile.caPem,
      service: this.#service(),
      onConnected: async (connection) => this.#openOn(connection),
      log,
    })
  }

  /**
   * Opens a session. Throws `serverUntrusted` (another cluster), `loginRefused` or `notLoggedIn` (the
   * device is not known any more), `notAuthentic` (the keys are not this user's), or why the metadata
   * server cannot be reached.
   */
  static async open(options: OpenOptions): Promise<Session> {
    const session = new Session(options)
    try {
      const { inode } = await session.read(methods.getInode, {
        inode: await session.#firstRoot(),
        hold: false,
      })
      session.rootKey.verifyAttributes(inode.attributes)
      return session
    } catch (error) {
      await session.close()
      throw error
    }
  }

  get id(): number {
    return this.#session
  }

  get userId(): number {
    return this.#known.userId
  }

  get device(): number {
    return this.#profile.device
  }

  get rootInode(): number {
    return this.#known.rootInode
  }

  get rootKey(): InodeKey {
    return this.#known.rootKey
  }

  get replicas(): number {
    return this.#replicas
  }

  get writeQuorum(): number {
    return this.#writeQuorum
  }

  async read<Q, R>(method: Method<Q, R>, request: Q): Promise<R> {
    const startedMs = performance.now()
    try {
      return await this.#call(method, request)
    } catch (error) {
      if (!(error instanceof DfsError) || !mayPass(error) || this.#closing.signal.aborted)
        throw error
      const options = {
        what: method.name,
        deadlineMs: method.deadlineMs - (performance.now() - startedMs),
        passing: mayPass,
        signal: this.#closing.signal,
      }
      await pauseFor(pauseMs(0), options.signal, options.what)
      return retried(options, async (leftMs) =>
        this.#call(method, request, { deadlineMs: Math.max(1, leftMs) }),
      )
    }
  }

  async mutate<Q extends { operation: Operation }, R>(
    method: Method<Q, R>,
    request: Omit<Q, 'operation'>,
  ): Promise<R> {
    invariant(method.replay === 'logged', `${method.name} is remembered by the server`)
    const operation = this.#operations.begin()
    try {
      const deadlineMs = Math.max(MUTATION_DEADLINE_MS, method.deadlineMs)
      const options = {
        what: method.name,
        deadlineMs,
        passing: (error: DfsError) => mayPass(error) || error.code === 'deadlineExceeded',
        signal: this.#closing.signal,
      }
      return await retried(options, async (leftMs) =>
        this.#tryMutation(operation, method, request, leftMs),
      )
    } catch (error) {
      throw operation.uncertain ? outcomeUnknown(method.name, error) : error
    } finally {
      this.#operations.end(operation)
    }
  }

  held(inode: number): void {
    this.#holds.add(inode)
  }

  heldUntold(inode: number): void {
    this.#holds.addUntold(inode)
  }

  async tellHolds(inode?: number): Promise<void> {
    await this.#holds.tell(inode)
  }

  release(inode: number): void {
    this.#holds.release(inode)
  }

  /** Sends the last releases, gives up what is under way and closes the connection. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    await this.#holds.close()
    await this.#end()
    this.#closing.abort()
    this.#liveness.stop()
    await this.#peer.close()
    this.#opened?.rootKey.erase()
  }

  get #known(): Opened {
    invariant(this.#opened !== undefined, 'the session was opened')
    return this.#opened
  }

  async #call<Q, R>(method: Method<Q, R>, request: Q, options?: CallOptions): Promise<R> {
    this.#liveness.began()
    const sentMs = performance.now()
    try {
      const response = await this.#peer.call(method, request, options)
      this.lease.heard(sentMs)
      return response
    } catch (error) {
      // Another server took its place: the next attempt looks for that one.
      if (error instanceof DfsError && error.code === 'notPrimary') {
        await this.#peer.connection?.close()
      }
      throw error
    } finally {
      this.#liveness.ended()
    }
  }

  /** Makes the peer connect, which opens the session; then the root is known. */
  async #firstRoot(): Promise<number> {
    await this.read(methods.statfs, {})
    return this.rootInode
  }

  async #tryMutation<Q extends { operation: Operation }, R>(
    operation: OpenOperation,
    method: Method<Q, R>,
    request: Omit<Q, 'operation'>,
    leftMs: number,
  ): Promise<R> {
    if (operation.uncertain && this.#operations.outlivedSession(operation)) {
      throw new DfsError('cancelled', 'the server ended the session meanwhile')
    }
    // Over the request, not a copy of it: the call may wait for a connection, and what the request
    // names of our lease is what it is by then.
    const wired = Object.create(request, {
      operation: { value: this.#operations.wire(operation) },
    }) as Q
    try {
      const response = await this.#call(method, wired, {
        deadlineMs: Math.max(1, Math.min(leftMs, method.deadlineMs)),
        // The first attempt has nothing to be abandoned for, and most succeed.
        ...(operation.uncertain ? { signal: operation.signal } : undefined),
      })
      operation.uncertain = false
      return response
    } catch (error) {
      if (error instanceof DfsError) {
        if (error.code === 'connectionLost' || error.code === 'deadlineExceeded') {
          operation.uncertain = true
        } else if (isAnswer(error)) {
          operation.uncertain = false
        }
      }
      throw error
    }
  }

  /** What the server asks of us. */
  #service(): MethodTable {
    const service = new MethodTable()
    service.handle(methods.recallLease, async ({ lease }) => {
      await this.lease.recalled(lease)
      return {}
    })
    service.handle(methods.grantLease, ({ lease }) => {
      this.lease.granted(lease)
      return {}
    })
    service.handle(methods.metadataServers, ({ addresses }) => {
      this.#servers.addressesTold(addresses)
      return {}
    })
    return service
  }

  /** Lets the server end the session at once instead of after its grace. */
  async #end(): Promise<void> {
    const { connection } = this.#peer
    if (connection === undefined || this.#opened === undefined) return
    await connection
      .call(methods.endSession, {}, { deadlineMs: CLOSE_MS })
      .catch((error: unknown) => {
        this.#log.debug({ err: error }, 'the session was not ended; the server will do it')
      })
  }

  /** Runs on each new connection before anything else does. */
  async #openOn(connection: Connection): Promise<void> {
    const { device, cluster } = this.#profile
    const challenge = await connection.call(methods.challenge, { device })
    if (Buffer.from(challenge.cluster).toString('hex') !== cluster) {
      throw new DfsError('serverUntrusted', 'the metadata server belongs to another cluster')
    }
    if (challenge.nonce.length !== NONCE_BYTES) {
      throw new DfsError('frameMalformed', `a challenge of ${challenge.nonce.length} bytes`)
    }
    const held = this.#holds.announce()
    if (held.length > HELD_ANNOUNCED_MAX) {
      this.#log.error({ held: held.length }, 'more holds than can be announced to the server')
      held.length = HELD_ANNOUNCED_MAX
    }
    const sentMs = performance.now()
    const response = await connection.call(methods.openSession, {
      device,
      signature: this.#device.prove({ ...challenge, device }),
      session: this.#session,
      held,
      epoch: this.#servers.known.epoch,
      epochProof: this.#servers.known.epochProof,
    })
    this.#servers.epochTold(response.epoch, response.epochProof)
    this.#servers.addressesTold(response.metadata)
    this.#accept(response)
    this.lease.opened(response, sentMs)
    void connection.closed.then(async () => {
      this.lease.disconnected()
      await this.#reconnect()
    })
  }

  #accept(response: OpenSessionResponse): void {
    const { account, session, replicas, writeQuorum } = response
    if (writeQuorum < 1 || replicas < writeQuorum || replicas > limits.replicasMax) {
      const detail = `the metadata server asks for ${replicas} replicas, ${writeQuorum} of them durable`
      throw new DfsError('frameMalformed', detail)
    }
    if (this.#opened === undefined) this.#opened = this.#unwrap(response)
    const { userId, rootInode } = this.#opened
    if (account.userId !== userId || account.rootInode !== rootInode) {
      throw new DfsError('notAuthentic', "the metadata server took this session for another user's")
    }
    if (this.#session !== 0 && this.#session !== session) {
      this.#log.warn({ ended: this.#session, session }, 'the server had ended the session')
      this.#operations.sessionLost()
    }
    this.#session = session
    this.#replicas = replicas
    this.#writeQuorum = writeQuorum
  }

  #unwrap({ account }: OpenSessionResponse): Opened {
    const { user } = this.#profile
    const masterKey = this.#device.unwrapMasterKey(user, account.wrappedMasterKey)
    try {
      const rootKey = unwrapRootKey(user, masterKey, account.wrappedRootKey)
      return { userId: account.userId, rootInode: account.rootInode, rootKey }
    } finally {
      masterKey.fill(0)
    }
  }

  /** Without a request to make: the server ends a session whose client stays away. */
  async #reconnect(): Promise<void> {
    if (this.#reconnecting || this.#closing.signal.aborted) return
    this.#reconnecting = true
    try {
      for (let failures = 0; ; failures++) {
        // Also gives the peer its turn to learn that the connection is gone.
        await pauseFor(pauseMs(failures), this.#closing.signal, 'reconnecting')
        if (this.#peer.connection !== undefined) return
        await this.#peer.call(methods.statfs, {}).catch((error: unknown) => {
          if (this.#closing.signal.aborted) return
          this.#log.warn({ err: error }, 'the metadata server is out of reach')
        })
      }
    } catch (error) {
      if (!(error instanceof DfsError) || error.code !== 'cancelled') throw error
    } finally {
      this.#reconnecting = false
    }
  }
}
