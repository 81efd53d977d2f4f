/**
 * The chunkserver's tie to the metadata server: registers on each new connection, then reports and
 * takes orders with every heartbeat.
 *
 * While the metadata server is away everything else goes on; the connection comes back by itself.
 * Orders are repeated until they are reported as carried out, so losing one, or a report, is harmless.
 */
import type {
  HeartbeatRequest,
  HeartbeatResponse,
  RegisterRequest,
} from '../../schema/generated/cluster.ts'
import { methods } from '../../schema/methods.ts'
import type { Peer, PeerOptions } from '../../schema/quic/api.ts'
import type { Connection, Log, Service } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { bounds } from './bounds.ts'
import type { ChunkStore } from './chunk-store.ts'
import type { DiskSpace } from './disk-space.ts'
import type { ServerIdentity } from './identity.ts'
import type { MetadataServers } from './metadata-servers.ts'
import { DamagedReport, UnconfirmedReport } from './reports.ts'
import type { TicketKeys } from './ticket-keys.ts'

export interface RegistrationOptions {
  readonly dialer: { peer(options: PeerOptions): Peer }
  readonly metadata: MetadataServers
  readonly identity: ServerIdentity
  readonly rack: string
  /** host:port under which clients and other servers reach this one. */
  readonly addresses: readonly string[]
  readonly store: ChunkStore
  /** Random id of the store. */
  readonly storeId: Uint8Array
  readonly space: DiskSpace
  readonly tickets: TicketKeys
  /** What the metadata server may ask. */
  readonly service: Service
  /** Requests in progress. */
  readonly load: () => number
  readonly log: Log
}

export class Registration {
  readonly #options: RegistrationOptions
  readonly #peer: Peer
  readonly #unconfirmed: UnconfirmedReport
  readonly #damaged: DamagedReport
  /** Orders carried out that no answered heartbeat has reported yet. */
  readonly #deleted = new Set<number>()
  #heartbeatMs: number = bounds.heartbeatMs
  #timer: NodeJS.Timeout | undefined
  #beating: Promise<void> = Promise.resolve()
  #deleting: Promise<void> | undefined
  #asking: Promise<void> | undefined
  #state: 'starting' | 'registered' | 'away' | 'stopped' = 'starting'

  constructor(options: RegistrationOptions) {
    this.#options = options
    this.#unconfirmed = new UnconfirmedReport(options.store)
    this.#damaged = new DamagedReport(options.store)
    this.#peer = options.dialer.peer({
      addresses: () => options.metadata.addresses,
      serverName: 'metadata.dfs',
      caPem: options.identity.caPem,
      identity: options.identity,
      service: options.service,
      onConnected: (connection) => this.#register(connection),
      log: options.log,
    })
  }

  start(): void {
    this.#beat()
  }

  async stop(): Promise<void> {
    this.#state = 'stopped'
    clearTimeout(this.#timer)
    await this.#peer.close()
    await this.#beating
    await this.#deleting
    await this.#asking
    await this.#options.metadata.settle()
  }

  get #stopped(): boolean {
    return this.#state === 'stopped'
  }

  #beat(): void {
    this.#beating = this.#heartbeat()
      .catch((error: unknown) => this.#missed(error))
      .then(() => {
        if (this.#stopped) return
        const spread = bounds.heartbeatSpread * (2 * Math.random() - 1)
        this.#timer = setTimeout(() => this.#beat(), this.#heartbeatMs * (1 + spread))
      })
  }

  async #register(connection: Connection): Promise<void> {
    const { rack, addresses, store, storeId, space, tickets, metadata, log, identity } =
      this.#options
    const { totalBytes, freeBytes } = await space.measure()
    const request: RegisterRequest = {
      rack,
      addresses: [...addresses],
      totalBytes,
      freeBytes,
      chunks: store.totals.chunks,
      ...metadata.epoch,
      store: storeId,
    }
    const answer = await connection.call(methods.register, request)
    metadata.epochTold(answer.epoch, answer.epochProof)
    tickets.update(answer.ticketKeys)
    this.#heartbeatMs = Math.min(
      Math.max(answer.heartbeatMs, bounds.heartbeatMsMin),
      bounds.heartbeatMsMax,
    )
    if (this.#stopped) return
    if (answer.restored > 0n) this.#askAnew(answer.restored)
    this.#state = 'registered'
    log.info(
      { server: identity.server, rack, addresses, metadata: connection.peer.address },
      'registered with the metadata server',
    )
  }

  /** Beside the heartbeats: there may be many chunks. What fails is done at the next registration. */
  #askAnew(restored: bigint): void {
    if (this.#asking !== undefined) return
    const { store, log } = this.#options
    this.#asking = store
      .askAnew(restored)
      .catch((error: unknown) => log.error({ err: error }, 'cannot ask about all chunks anew'))
      .finally(() => (this.#asking = undefined))
  }

  async #heartbeat(): Promise<void> {
    const { request, deleted } = await this.#report()
    const answer = await this.#peer.call(methods.heartbeat, request, {
      deadlineMs: bounds.heartbeatDeadlineMs,
    })
    for (const chunk of deleted) this.#deleted.delete(chunk)
    this.#unconfirmed.answered()
    this.#damaged.answered()
    await this.#obey(answer)
  }

  async #report(): Promise<{ request: HeartbeatRequest; deleted: number[] }> {
    const { store, space, load } = this.#options
    const { freeBytes, full } = await space.measure()
    const deleted: number[] = []
    for (const chunk of this.#deleted) {
      if (deleted.length >= bounds.heartbeatDeletedMax) break
      deleted.push(chunk)
    }
    const { chunks, sealedBytes } = store.totals
    const request = {
      usedBytes: sealedBytes,
      freeBytes,
      full,
      chunks,
      load: load(),
      deleted,
      unconfirmed: await this.#unconfirmed.portion(Date.now()),
      damaged: await this.#damaged.portion(Date.now()),
    }
    return { request, deleted }
  }

  async #obey(answer: HeartbeatResponse): Promise<void> {
    const { store, tickets, metadata, log } = this.#options
    metadata.addressesTold(answer.metadata)
    tickets.update(answer.ticketKeys)
    if (answer.confirmed.length > 0) await store.confirm(answer.confirmed)
    if (answer.deletes.length > 0) this.#delete(answer.deletes)
    const { connection } = this.#peer
    if (answer.register && connection !== undefined) {
      log.info({}, 'the metadata server asks to register again')
      await this.#register(connection)
    }
  }

  /** Carries orders out beside the heartbeats; what it does not take on now is ordered again. */
  #delete(chunks: readonly number[]): void {
    if (this.#deleting !== undefined) return
    if (this.#deleted.size >= bounds.heartbeatDeletedMax) return
    const { store, log } = this.#options
    const portion = chunks.slice(0, bounds.deletesPerBatchMax)
    this.#deleting = store
      .delete(portion)
      .then(
        (gone) => {
          for (const chunk of gone) this.#deleted.add(chunk)
          log.debug({ chunks: gone.length }, 'deleted chunks as ordered')
        },
        (error: unknown) =>
          log.error({ err: error }, 'cannot delete chunks; the order is repeated'),
      )
      .finally(() => {
        this.#deleting = undefined
      })
  }

  #missed(error: unknown): void {
    if (this.#stopped) return
    // Anything else is a bug, and as an unhandled rejection it ends the process.
    if (!(error instanceof DfsError)) throw error
    // Another server took its place: the next attempt looks for that one.
    if (error.code === 'notPrimary') void this.#peer.connection?.close()
    const { log, metadata } = this.#options
    const fields = { metadata: metadata.addresses, code: error.code, detail: error.message }
    if (this.#state === 'away') log.debug(fields, 'no heartbeat: the metadata server is away')
    else log.warn(fields, 'lost the metadata server; serving on with the ticket keys known')
    this.#state = 'away'
  }
}
