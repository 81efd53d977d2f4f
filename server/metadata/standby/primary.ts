/**
 * The metadata server's side of replication: lets one standby copy the store and follow the log,
 * knows who of the two servers is the right one, and tells clients and chunkservers where both are.
 */
import type {
  CopyLogRequest,
  CopyLogResponse,
  CopyPageRequest,
  CopyPageResponse,
  FollowRequest,
  FollowResponse,
  ReplicationStatusResponse,
} from '../../../schema/generated/replication.ts'
import type { StandbyRecord } from '../../../schema/generated/records.ts'
import { methods } from '../../../schema/methods.ts'
import type { Connection, Log, Service } from '../../../schema/rpc/api.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { keyAfter } from '../../store/ordered-store.ts'
import type { Authority } from '../../identity/certificates.ts'
import { refuse } from '../input.ts'
import { ADMIN_NAME, isMetadataServer } from '../peer-names.ts'
import type { ClusterPolicy } from '../services.ts'
import type { Database } from '../store/database.ts'
import { keys, ranges } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { CommitLog } from './commit-log.ts'
import { isProven, proveEpoch, type ProvenEpoch } from './epoch-proof.ts'
import { Feed } from './feed.ts'
import { encodeChanges, framed } from './log-record.ts'

const ADDRESSES_MAX = 8
/** Records and bytes of a page of a copy. */
const PAGE_RECORDS = 1_000
const PAGE_BYTES = 4 * 1_048_576

export interface PrimaryOptions {
  readonly database: Database
  readonly authority: Authority
  readonly policy: ClusterPolicy
  readonly log: Log
}

export class Primary {
  readonly #options: PrimaryOptions
  readonly #commitLog: CommitLog
  readonly #epoch: ProvenEpoch
  #feed: Feed | undefined
  /** The standby asked for synchronous mode, and gets it once it has everything. */
  #becomesSync: StandbyRecord | undefined
  /** host:port under which this server is reached, best first. */
  reachedAt: readonly string[] = []
  /** Called when the addresses of metadata servers have changed. */
  onAddresses: () => void = () => undefined
  /** Called when another server was promoted: nothing is decided here any more. */
  onSuperseded: () => void = () => undefined

  constructor(options: PrimaryOptions) {
    this.#options = options
    this.#commitLog = options.database.log
    const { cluster } = options.policy
    this.#epoch = proveEpoch(options.authority, cluster, this.#commitLog.history.epoch)
    this.#commitLog.onWritten = () => this.#feed?.wake()
  }

  /** This server's epoch and its proof. */
  get epoch(): ProvenEpoch {
    return this.#epoch
  }

  /** host:port of this server and of its standby. */
  get addresses(): string[] {
    const standby = this.#commitLog.standby?.addresses ?? []
    return [...new Set([...this.reachedAt, ...standby])]
  }

  /**
   * Somebody says that there is a higher epoch. When that is proven, this server serves no more;
   * throws `notPrimary` then.
   */
  async heard(proven: ProvenEpoch): Promise<void> {
    const { database, authority, policy, log } = this.#options
    if (proven.epoch <= this.#epoch.epoch) return
    if (!isProven(authority, policy.cluster, proven)) return
    if (this.#commitLog.superseded === undefined) {
      log.error(
        { epoch: this.#epoch.epoch, promoted: proven.epoch },
        'another metadata server was promoted: serving no more; make this one its standby with dfs-metadata standby',
      )
      this.#feed?.stop()
      const superseded = database.supersede(proven.epoch)
      this.onSuperseded()
      await superseded
    }
    if (this.#commitLog.superseded !== undefined) throw this.#commitLog.superseded
  }

  serve(service: Service): void {
    service.handle(methods.follow, (q, { connection }) => {
      const name = metadataServer(connection)
      return this.#follow(q, name, connection)
    })
    service.handle(methods.copyPage, (q, { connection }) => {
      metadataServer(connection)
      return this.#copyPage(q)
    })
    service.handle(methods.copyLog, (q, { connection }) => {
      metadataServer(connection)
      return this.#copyLog(q)
    })
    service.handle(methods.replicationStatus, async (q, { connection }) => {
      if (connection.peer.name !== ADMIN_NAME) metadataServer(connection)
      await this.heard(q).catch((error: unknown) => {
        if (!(error instanceof DfsError)) throw error
      })
      return this.status()
    })
    service.handle(methods.promote, (_q, { connection }) => {
      operator(connection)
      throw new DfsError('exists', 'this is the metadata server; it needs no promotion')
    })
    service.handle(methods.forgetStandby, async (_q, { connection }) => {
      operator(connection)
      await this.#forget()
      return {}
    })
  }

  status(): ReplicationStatusResponse {
    const log = this.#commitLog
    const { standby } = log
    return {
      role: log.superseded === undefined ? 'primary' : 'superseded',
      ...this.#epoch,
      number: log.written,
      addresses: standby?.addresses ?? [],
      connected: log.connected,
      primaryNumber: log.written,
      standbyNumber: standby === undefined ? 0 : log.acked,
      lagMs: log.lagMs(Date.now()),
      sync: standby?.sync ?? false,
      waits: log.waits,
      fallbackMs: standby?.fallbackMs ?? 0,
      logBytes: log.bytes,
    }
  }

  /** There is no standby any more: nothing waits for it and nothing is kept for it. */
  async #forget(): Promise<void> {
    this.#feed?.stop()
    this.#feed = undefined
    this.#becomesSync = undefined
    this.#commitLog.setStandby(undefined)
    this.onAddresses()
    const { database, log } = this.#options
    await database.write({ always: true }, (txn) => txn.delete(tables.standbys, keys.standby))
    log.warn({}, 'the standby was given up; commits are on this server only')
  }

  async #follow(
    request: FollowRequest,
    name: string,
    connection: Connection,
  ): Promise<FollowResponse> {
    const { log } = this.#options
    const { superseded, standby, history } = this.#commitLog
    if (superseded !== undefined) throw superseded
    if (request.epoch > history.epoch) {
      throw new DfsError('notPrimary', `this server is of epoch ${history.epoch}, an older one`)
    }
    if (standby !== undefined && standby.name !== '' && standby.name !== name) {
      throw new DfsError(
        'exists',
        `${standby.name} is the standby; give it up first with dfs-metadata forget-standby`,
      )
    }
    checkAddresses(request.addresses)
    this.#feed?.stop()
    const { addresses, fallbackMs } = request
    const sync = request.sync && standby?.sync === true
    this.#setStandby({ name, addresses: [...addresses], sync, fallbackMs })
    const { number, mark, epoch } = this.#commitLog.history
    const follows = await this.#commitLog.continues(request)
    log.info({ standby: name, addresses, has: request.number, number, follows }, 'standby')
    this.#becomesSync =
      request.sync && !sync ? { name, addresses, sync: true, fallbackMs } : undefined
    if (follows) this.#start(connection, request.number)
    return { epoch, number, mark, follows }
  }

  #start(connection: Connection, number: number): void {
    const { log } = this.#options
    const feed = new Feed(connection, this.#commitLog, number, log)
    this.#feed = feed
    this.#commitLog.connect(number)
    this.#caughtUp()
    feed
      .run()
      .catch((error: unknown) => {
        if (!(error instanceof DfsError)) throw error
        log.error({ code: error.code, detail: error.message }, 'the log cannot be read')
      })
      .finally(() => {
        feed.stop()
        // It comes back by itself, to go on or to copy anew.
        connection.close().catch((error: unknown) => log.debug({ err: error }, 'closing failed'))
        if (this.#feed !== feed) return
        this.#feed = undefined
        this.#commitLog.disconnect()
        const { acked, written } = this.#commitLog
        log.warn({ behind: written - acked }, 'the standby is away')
      })
  }

  /** To be called now and then: turns on what was asked for, or goes on without the standby. */
  tick(): void {
    this.#caughtUp()
    if (this.#commitLog.checkFallback()) {
      this.#options.log.error(
        {},
        'the standby is away for too long: commits are acknowledged without it',
      )
    }
  }

  #caughtUp(): void {
    const { acked, written, connected } = this.#commitLog
    if (this.#becomesSync === undefined || !connected || acked < written) return
    const record = this.#becomesSync
    this.#becomesSync = undefined
    this.#setStandby(record)
    this.#options.log.info(
      { standby: record.name },
      'from now on no commit is acknowledged before the standby has it',
    )
  }

  /**
   * From this moment batches are logged for the standby. The record is a batch as any other; nobody
   * waits for it here, because it may wait for the standby.
   */
  #setStandby(record: StandbyRecord): void {
    const { database, log } = this.#options
    const known = this.#commitLog.standby
    this.#commitLog.setStandby(record)
    if (known !== undefined && sameRecord(known, record)) return
    this.onAddresses()
    database
      .write({ always: true }, (txn) => txn.put(tables.standbys, keys.standby, record))
      .catch((error: unknown) => {
        if (!(error instanceof DfsError)) throw error
        log.warn({ code: error.code, detail: error.message }, 'the standby is not on record')
      })
  }

  async #copyPage({ after }: CopyPageRequest): Promise<CopyPageResponse> {
    const { database, log } = this.#options
    const { logRecords, everything } = ranges
    const from = after.length === 0 ? everything.from : keyAfter(after)
    const before = from.compare(logRecords.from) < 0
    const to = before ? logRecords.from : everything.to
    const entries = await database.copyRange({ from, to }, PAGE_RECORDS, (key) => {
      log.error({ key: key.toString('hex') }, 'a damaged record is not copied to the standby')
    })
    const { number } = this.#commitLog.history
    let bytes = 0
    let count = 0
    while (count < entries.length && bytes < PAGE_BYTES) {
      bytes += entries[count]?.value.length ?? 0
      count++
    }
    const page = entries.slice(0, count)
    const more = page.at(-1)?.key
    const last = more ?? (before ? logRecords.to : NOTHING)
    const changes = encodeChanges(page.filter(({ key }) => !key.equals(keys.history)))
    return { changes, last, number }
  }

  async #copyLog({ after }: CopyLogRequest): Promise<CopyLogResponse> {
    const records = await this.#commitLog.recordsAfter(after, PAGE_BYTES)
    return { records: framed(records), number: this.#commitLog.written }
  }
}

const NOTHING = Buffer.alloc(0)

function sameRecord(a: StandbyRecord, b: StandbyRecord): boolean {
  return (
    a.name === b.name &&
    a.sync === b.sync &&
    a.fallbackMs === b.fallbackMs &&
    a.addresses.join(' ') === b.addresses.join(' ')
  )
}

function operator({ peer }: Connection): void {
  if (peer.name === ADMIN_NAME) return
  throw new DfsError('forbidden', 'only the operator may ask this, with the admin certificate')
}

function metadataServer({ peer }: Connection): string {
  if (isMetadataServer(peer.name)) return peer.name
  throw new DfsError('forbidden', 'only a standby of this cluster may ask this')
}

function checkAddresses(addresses: readonly string[]): void {
  if (addresses.length === 0 || addresses.length > ADDRESSES_MAX) {
    refuse(`${addresses.length} addresses; a standby has 1 to ${ADDRESSES_MAX}`)
  }
  if (addresses.some((address) => Buffer.byteLength(address) > limits.addressBytesMax)) {
    refuse(`an address has at most ${limits.addressBytesMax} bytes`)
  }
}
