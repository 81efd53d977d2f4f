/**
 * A standby: follows a metadata server's log, or copies its store when it has none that the log
 * continues, until it is stopped or promoted. It serves nobody but the operator and other metadata
 * servers.
 */
import { existsSync } from 'node:fs'
import type {
  PromoteResponse,
  ReplicationStatusResponse,
} from '../../../schema/generated/replication.ts'
import { methods } from '../../../schema/methods.ts'
import type { Listener, Peer, PeerOptions } from '../../../schema/quic/api.ts'
import { listen } from '../../../schema/quic/listener.ts'
import type { Log, ServerCall } from '../../../schema/rpc/api.ts'
import { MethodTable } from '../../../schema/rpc/method-table.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { openRocksStore } from '../../store/rocks-store.ts'
import { clusterPaths, readIdentity, readPolicy, writeAddresses } from '../cluster-files.ts'
import { ADMIN_NAME, isMetadataServer, METADATA_NAME } from '../peer-names.ts'
import { CommitLog } from './commit-log.ts'
import { copyStore } from './copy-store.ts'
import { proveEpoch } from './epoch-proof.ts'
import { unframed } from './log-record.ts'
import { promoteStore } from './promotion.ts'
import { Replica } from './replica.ts'
import { finishCopy, readFollowed, takeCopy, writeFollowed } from './standby-files.ts'

/** Milliseconds from one attempt to reach the metadata server to the next. */
const RETRY_MS = 500
/** Milliseconds that open requests get at the end. */
const DRAIN_MS = 2_000

export interface StandbyOptions {
  /** What joinAsStandby made, or the directory of a metadata server that another one has replaced. */
  readonly dir: string
  /** host:port of the metadata server; empty: the one followed before. */
  readonly of: readonly string[]
  readonly listen: string
  readonly advertise: (bound: string) => readonly string[]
  readonly sync: boolean
  readonly fallbackMs: number
  readonly dialer: { peer(options: PeerOptions): Peer }
  readonly log: Log
  /** The store cannot be written any more: the process must end. */
  readonly onFailure: (error: unknown) => void
}

/** Opens the store and listens, then follows. Throws why it cannot. */
export async function startStandby(options: StandbyOptions): Promise<Standby> {
  const { dir, log } = options
  await finishCopy(dir)
  const followed = options.of.length > 0 ? options.of : await readFollowed(dir)
  if (followed.length === 0) {
    throw new DfsError('invalidArgument', 'say which metadata server to follow, with --of')
  }
  const standby = new Standby(options, followed)
  try {
    await standby.start()
  } catch (error) {
    await standby.stop()
    throw error
  }
  log.info({ dir, of: followed, address: standby.address }, 'standing by')
  return standby
}

export class Standby {
  readonly #options: StandbyOptions
  readonly #of: readonly string[]
  #addresses: readonly string[] = []
  #listener: Listener | undefined
  #replica: Replica | undefined
  #peer: Peer | undefined
  #running: Promise<void> | undefined
  readonly #stopping = new AbortController()
  #state: 'away' | 'following' | 'copying' = 'away'
  #primaryNumber = 0
  #lackingSinceMs: number | undefined
  #promoted: () => void = () => undefined
  /** Resolves when the store is a metadata server's, and this standby is to be stopped. */
  readonly promoted = new Promise<void>((resolve) => (this.#promoted = resolve))

  constructor(options: StandbyOptions, of: readonly string[]) {
    this.#options = options
    this.#of = of
  }

  get address(): string {
    return this.#listener?.address ?? ''
  }

  async start(): Promise<void> {
    const { dir, log } = this.#options
    const paths = clusterPaths(dir)
    const { cluster } = await readPolicy(dir)
    if (existsSync(paths.store)) await this.#openReplica()
    const authority = await readIdentity(paths.authority)
    const service = new MethodTable()
    service.handle(methods.ping, () => ({}))
    service.handle(methods.challenge, () => {
      throw new DfsError('notPrimary', 'this is a standby; ask the metadata server')
    })
    service.handle(methods.register, () => {
      throw new DfsError('notPrimary', 'this is a standby; ask the metadata server')
    })
    service.handle(methods.replicationStatus, (_q, { connection: { peer } }) => {
      if (peer.name !== ADMIN_NAME && !isMetadataServer(peer.name)) throw operatorOnly()
      const epoch = this.#replica?.commitLog.history.epoch ?? 0
      return this.#status(proveEpoch(authority, cluster, epoch).epochProof)
    })
    service.handle(methods.promote, (_q, { connection: { peer } }) => {
      if (peer.name !== ADMIN_NAME) throw operatorOnly()
      return this.#promote()
    })
    this.#listener = await listen({
      address: this.#options.listen,
      identity: await readIdentity(paths.identity),
      caPem: authority.certificatePem,
      service,
      log,
    })
    this.#addresses = this.#options.advertise(this.#listener.address)
    await writeAddresses(dir, this.#addresses)
    await writeFollowed(dir, this.#of)
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#peer?.close()
    await this.#running
    await this.#listener?.close(DRAIN_MS)
    await this.#replica?.close()
  }

  #over(): boolean {
    return this.#stopping.signal.aborted
  }

  async #openReplica(): Promise<void> {
    const store = await openRocksStore(clusterPaths(this.#options.dir).store)
    this.#replica = new Replica(store, await CommitLog.load(store), this.#options.onFailure)
  }

  async #run(): Promise<void> {
    const { log, onFailure } = this.#options
    while (!this.#over()) {
      try {
        await this.#follow()
      } catch (error) {
        if (!(error instanceof DfsError)) {
          onFailure(error)
          return
        }
        if (!this.#over()) {
          log.warn({ of: this.#of, code: error.code, detail: error.message }, 'not following')
        }
      }
      this.#state = 'away'
      await this.#replica?.settle()
      if (!this.#over()) await pause(RETRY_MS, this.#stopping.signal)
    }
  }

  /** Follows over one connection, or copies over it. */
  async #follow(): Promise<void> {
    const { dir, log, sync, fallbackMs, dialer } = this.#options
    const paths = clusterPaths(dir)
    const { certificatePem: caPem } = await readIdentity(paths.authority)
    const service = new MethodTable()
    service.handle(methods.appendLog, (q, call) => this.#append(q, call))
    let answer = { epoch: 0, number: 0, mark: 0, follows: false }
    const peer = dialer.peer({
      addresses: this.#of,
      serverName: METADATA_NAME,
      caPem,
      identity: await readIdentity(paths.identity),
      service,
      log,
      onConnected: async (connection) => {
        const { epoch = 0, number = 0, mark = 0 } = this.#replica?.commitLog.history ?? {}
        const addresses = [...this.#addresses]
        const request = { epoch, number, mark, addresses, sync, fallbackMs }
        answer = await connection.call(methods.follow, request)
      },
    })
    this.#peer = peer
    try {
      await peer.call(methods.ping, {})
      this.#primaryNumber = answer.number
      if (answer.follows) {
        await this.#replica?.adopt(answer.epoch)
        log.info({ number: answer.number, epoch: answer.epoch }, 'following')
        this.#state = 'following'
        await peer.connection?.closed
      } else {
        await this.#copy(peer, answer)
      }
    } finally {
      await peer.close()
    }
  }

  async #copy(peer: Peer, answer: Parameters<typeof copyStore>[2]): Promise<void> {
    const { dir, log } = this.#options
    const mine = this.#replica?.commitLog.history
    log.warn(
      { mine: mine?.number ?? 0, epoch: mine?.epoch ?? 0, theirs: answer.number },
      'the log does not continue this store: copying anew; what only this store has will be gone',
    )
    this.#state = 'copying'
    const { number, records } = await copyStore(clusterPaths(dir).copying, peer, answer)
    await this.#replica?.close()
    this.#replica = undefined
    await takeCopy(dir)
    await this.#openReplica()
    log.info({ number, records }, 'copied the store')
  }

  async #append(
    { epoch, first, count, bytes, number }: AppendRequest,
    call: ServerCall,
  ): Promise<{ number: number }> {
    const replica = this.#replica
    if (replica === undefined || this.#stopping.signal.aborted) {
      throw new DfsError('shuttingDown', 'this standby takes no batches now')
    }
    if (bytes > methods.appendLog.uploadBytesMax) {
      throw new DfsError('frameTooLarge', `log records of ${bytes} bytes`)
    }
    const records = unframed(await payload(call, bytes))
    if (records.length !== count) {
      throw new DfsError('frameMalformed', `${records.length} log records instead of ${count}`)
    }
    this.#primaryNumber = number
    this.#lackingSinceMs ??= Date.now()
    const durable = await replica.append(first, records, epoch)
    if (durable >= this.#primaryNumber) this.#lackingSinceMs = undefined
    return { number: durable }
  }

  #status(epochProof: Uint8Array): ReplicationStatusResponse {
    const history = this.#replica?.commitLog.history
    const number = this.#replica?.number ?? 0
    return {
      role: this.#state === 'copying' ? 'copying' : 'standby',
      epoch: history?.epoch ?? 0,
      epochProof,
      number,
      addresses: [...this.#of],
      connected: this.#state === 'following',
      primaryNumber: Math.max(number, this.#primaryNumber),
      standbyNumber: number,
      lagMs: this.#lackingSinceMs === undefined ? 0 : Date.now() - this.#lackingSinceMs,
      sync: this.#options.sync,
      waits: false,
      fallbackMs: this.#options.fallbackMs,
      logBytes: this.#replica?.commitLog.bytes ?? 0,
    }
  }

  async #promote(): Promise<PromoteResponse> {
    if (this.#replica === undefined || this.#state === 'copying') {
      throw new DfsError('notFound', 'this standby has no complete copy yet; it cannot be promoted')
    }
    this.#stopping.abort()
    await this.#peer?.close()
    await this.#running
    const { epoch, number } = await promoteStore(this.#replica.store, this.#of)
    this.#options.log.warn({ epoch, number }, 'promoted: this is the metadata server now')
    this.#promoted()
    return { epoch, number }
  }
}

type AppendRequest = ReturnType<typeof methods.appendLog.request.decode>

async function payload(call: ServerCall, bytes: number): Promise<Buffer> {
  const into = Buffer.allocUnsafe(bytes)
  let at = 0
  while (at < bytes) {
    const got = await call.read(into.subarray(at))
    if (got === 0) throw new DfsError('frameMalformed', 'the log records are cut short')
    at += got
  }
  return into
}

const operatorOnly = (): DfsError =>
  new DfsError('forbidden', 'only the operator may ask this, with the admin certificate')

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
