/**
 * The log of a metadata store: every committed batch has a number and a mark, kept in the batch
 * itself; with a standby to serve, also a record of its changes.
 *
 * It also decides when a batch may be acknowledged. A synchronous standby must have it durable, unless
 * the operator named a time after which to go on without. Without a standby a batch costs one small
 * record more, and nothing waits.
 */
import { performance } from 'node:perf_hooks'
import type { HistoryRecord, StandbyRecord } from '../../../schema/generated/records.ts'
import { invariant } from '../../../schema/wire/invariant.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import type { Change, OrderedStore } from '../../store/ordered-store.ts'
import { keys, parts } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import { superseded } from './epoch-proof.ts'
import { historyChange, NEW_HISTORY, randomMark, readHistory, Role, scanLog } from './history.ts'
import { changesOf, decodeHead, encodeRecord } from './log-record.ts'
import type { LogRetention, RetentionBounds } from './log-retention.ts'

/** Bytes of the longest record that is kept; a standby that lacks a longer one copies anew. */
const RECORD_BYTES_MAX = 48 * 1_048_576
/** Old records deleted with one batch. */
const TRIMMED_MAX = 64
/** Records read from the store at once. */
const READ_MAX = 32
/** Bytes of the newest records kept in memory for the standby. */
const RECENT_BYTES_MAX = 16 * 1_048_576
/** Milliseconds without the standby after which new changes are refused instead of queued. */
const REFUSE_AFTER_MS = 2_000
/** Milliseconds to wait for a standby that follows before something that it must know of is put off. */
const COVERED_MS = 1_000
/** Milliseconds for which a standby that is away is thought to come back as it was: an hour. */
const EXPECTED_MS = 3_600_000

export interface Position {
  readonly number: number
  readonly mark: number
}

export class CommitLog {
  readonly #store: OrderedStore
  readonly #retention: LogRetention
  readonly #recent = new Map<number, Buffer>()
  #recentBytes = 0
  #history: HistoryRecord
  #standby: StandbyRecord | undefined
  /** The last batch on our own disk, and on the standby's. */
  #written: number
  #acked = 0
  #connected = false
  /** When the standby last had everything, or said anything; milliseconds of the process. */
  #goodMs = performance.now()
  #starting = true
  #ended = false
  readonly #onAck = new Set<() => void>()
  #fallenBack = false
  /** Requests are served once the standby has all that we had at the start. */
  #startNumber = 0
  #superseded: DfsError | undefined
  /** Called when more may be acknowledged. */
  onReleased: () => void = () => undefined
  /** Called when another server turned out to be the right one. */
  onSuperseded: () => void = () => undefined
  /** Called when there is more for the standby. */
  onWritten: () => void = () => undefined

  private constructor(
    store: OrderedStore,
    history: HistoryRecord,
    standby: StandbyRecord | undefined,
    retention: LogRetention,
  ) {
    this.#store = store
    this.#history = history
    this.#standby = standby
    this.#retention = retention
    this.#written = history.number
  }

  static async load(
    store: OrderedStore,
    bounds: Partial<RetentionBounds> = {},
  ): Promise<CommitLog> {
    const known = await readHistory(store)
    const history = known ?? NEW_HISTORY
    const stored = await store.get(keys.standby)
    const standby = stored === undefined ? undefined : tables.standbys.decode(stored)
    return new CommitLog(store, history, standby, await scanLog(store, history, bounds))
  }

  get history(): HistoryRecord {
    return this.#history
  }

  get standby(): StandbyRecord | undefined {
    return this.#standby
  }

  get written(): number {
    return this.#written
  }

  get acked(): number {
    return this.#acked
  }

  get connected(): boolean {
    return this.#connected
  }

  get bytes(): number {
    return this.#retention.bytes
  }

  /** Commits are acknowledged only when the standby has them. */
  get waits(): boolean {
    return this.#standby?.sync === true && !this.#starting && !this.#ended && !this.#fallenBack
  }

  /** The last batch that may be acknowledged. */
  get released(): number {
    return this.waits ? Math.min(this.#written, this.#acked) : this.#written
  }

  /** Milliseconds for which the standby has lacked the oldest batch that it lacks. */
  lagMs(nowMs: number): number {
    if (this.#standby === undefined || this.#acked >= this.#written) return 0
    const oldest = this.#retention.atMs(Math.max(this.#acked + 1, this.#retention.first))
    return oldest === undefined ? 0 : Math.max(0, nowMs - oldest)
  }

  /** Takes the next batch; returns what is to be written with it. */
  append(changes: readonly Change[]): Change[] {
    const { role, epoch, number: before, mark: previousMark } = this.#history
    const number = before + 1
    const mark = randomMark()
    this.#history = { role, epoch, number, mark }
    const extra: Change[] = []
    if (this.#standby !== undefined) {
      const record = encodeRecord({ previousMark, mark, atMs: Date.now() }, changes)
      this.#keep(number, record, extra)
    } else {
      this.#trim(Infinity, extra)
    }
    extra.push(historyChange(this.#history))
    return extra
  }

  /**
   * Takes batches that the metadata server of `epoch` numbered: all changes to write for them. Throws
   * `frameMalformed` when they do not follow on ours.
   */
  replicate(records: readonly Buffer[], epoch: number): Change[] {
    const all: Change[] = []
    let { number, mark } = this.#history
    for (const record of records) {
      const head = decodeHead(record)
      if (head.previousMark !== mark) {
        throw new DfsError('frameMalformed', `batch ${number + 1} is not one that follows on ours`)
      }
      mark = head.mark
      number++
      all.push(...changesOf(record))
      this.#acked = number
      this.#keep(number, record, all)
    }
    this.#history = { role: Role.standby, epoch, number, mark }
    all.push(historyChange(this.#history))
    return all
  }

  /** This store follows a metadata server of `epoch` from now on. */
  adopt(epoch: number): void {
    this.#history = { ...this.#history, role: Role.standby, epoch }
  }

  /** The batch of this number is on our disk. */
  wrote(number: number): void {
    this.#written = number
    if (this.#standby === undefined) return
    this.onWritten()
  }

  /** Whether `position` is a beginning of our history whose continuation is kept. */
  async continues({ number, mark }: Position): Promise<boolean> {
    const { history } = this
    if (number === history.number) return mark === history.mark
    if (number > history.number || number + 1 < this.#retention.first) return false
    const next = await this.#read(number + 1)
    return next !== undefined && decodeHead(next).previousMark === mark
  }

  /** Records behind `number`, in order: at least one when it is kept, about `bytesMax` bytes. */
  async recordsAfter(number: number, bytesMax: number): Promise<Buffer[]> {
    const records: Buffer[] = []
    let bytes = 0
    for (let next = number + 1; next <= this.#written && bytes < bytesMax; next++) {
      const recent = this.#recent.get(next)
      if (recent === undefined) break
      records.push(recent)
      bytes += recent.length
    }
    if (records.length > 0 || number >= this.#written) return records
    const from = keys.logRecord(number + 1)
    const to = keys.logRecord(this.#written + 1)
    const page = await this.#store.range({ from, to, limit: READ_MAX })
    for (const [i, { key, value }] of page.entries()) {
      if (parts.id(key) !== number + 1 + i || (bytes > 0 && bytes + value.length > bytesMax)) break
      records.push(value)
      bytes += value.length
    }
    return records
  }

  /** Who the standby is from now on; the record itself is written by the caller. */
  setStandby(record: StandbyRecord | undefined): void {
    this.#standby = record
    this.#goodMs = performance.now()
    if (record === undefined) this.#connected = false
    this.onReleased()
  }

  connect(acked: number): void {
    this.#connected = true
    this.#acked = Math.min(acked, this.#written)
    if (this.#acked >= this.#written) this.#progress()
    else this.onReleased()
  }

  disconnect(): void {
    if (this.#acked >= this.#written) this.#goodMs = performance.now()
    this.#connected = false
  }

  /** The standby has everything up to this number. */
  ack(number: number): void {
    if (number <= this.#acked) return
    this.#acked = Math.min(number, this.#written)
    for (const look of this.#onAck) look()
    this.#progress()
  }

  /**
   * Whether something may be done that cannot be undone, as deleting a chunk, on the ground of what is
   * written by now: a standby that may yet be promoted must know it, too. Waits a moment for one that
   * follows; one that is away is counted on for an hour.
   */
  async covered(): Promise<boolean> {
    const number = this.#written
    const standby = this.#standby
    if (standby === undefined || standby.name === '' || this.#acked >= number) return true
    if (!this.#connected) return performance.now() - this.#goodMs > EXPECTED_MS
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#onAck.delete(look)
        resolve()
      }
      const look = (): void => {
        if (this.#acked >= number) done()
      }
      const timer = setTimeout(done, COVERED_MS)
      this.#onAck.add(look)
    })
    return this.#acked >= number
  }

  /** From here on requests come in, and a synchronous standby is waited for. */
  begin(): void {
    this.#startNumber = this.#written
    this.#starting = false
    this.#goodMs = performance.now()
  }

  /** Nobody is answered any more: nothing needs to wait for the standby. */
  end(): void {
    this.#ended = true
    this.onReleased()
  }

  /** Goes on without a synchronous standby when that is allowed and its time is over. */
  checkFallback(): boolean {
    const fallbackMs = this.#standby?.fallbackMs ?? 0
    if (!this.waits || fallbackMs === 0) return false
    if (this.#connected && this.#acked >= this.#written) this.#goodMs = performance.now()
    if (performance.now() - this.#goodMs < fallbackMs) return false
    this.#fallenBack = true
    this.onReleased()
    return true
  }

  /** A server of a higher epoch is the right one: nothing is decided or answered here any more. */
  supersede(epoch: number): void {
    if (this.#superseded !== undefined) return
    this.#superseded = superseded(epoch)
    this.onSuperseded()
  }

  /** Why nothing is served here any more, once that is so. */
  get superseded(): DfsError | undefined {
    return this.#superseded
  }

  /** This store is a metadata server's from now on, of the next epoch; to be called once, before {@link append}. */
  promote(standby: StandbyRecord): void {
    const { epoch } = this.#history
    this.#history = { ...this.#history, role: Role.primary, epoch: epoch + 1 }
    this.#standby = standby
  }

  /** Why no request may be answered now. */
  refusal(): DfsError | undefined {
    if (this.#superseded !== undefined) return this.#superseded
    if (this.waits && this.#acked < this.#startNumber) return standbyAway()
    return undefined
  }

  /** Why no change may be decided now. */
  writeRefusal(): DfsError | undefined {
    const silentMs = performance.now() - this.#goodMs
    if (this.waits && !this.#connected && silentMs > REFUSE_AFTER_MS) return standbyAway()
    return this.refusal()
  }

  #progress(): void {
    this.#goodMs = performance.now()
    if (this.#acked >= this.#written) this.#fallenBack = false
    this.onReleased()
  }

  #keep(number: number, record: Buffer, extra: Change[]): void {
    if (record.length > RECORD_BYTES_MAX) return
    const retention = this.#retention
    invariant(retention.end <= number, 'log records are kept in order')
    // A gap: what is before it helps nobody any more.
    while (retention.end < number) {
      this.#trim(Infinity, extra)
      if (retention.first === retention.end) retention.skipTo(number)
    }
    retention.add(record.length, decodeHead(record).atMs)
    extra.push({ key: keys.logRecord(number), value: record })
    this.#recent.set(number, record)
    this.#recentBytes += record.length
    for (const [old, { length }] of this.#recent) {
      if (this.#recentBytes <= RECENT_BYTES_MAX) break
      this.#recent.delete(old)
      this.#recentBytes -= length
    }
    this.#trim(this.#acked, extra)
  }

  #trim(acked: number, extra: Change[]): void {
    const dropped =
      acked === Infinity
        ? this.#retention.drop(TRIMMED_MAX)
        : this.#retention.trim(acked, TRIMMED_MAX)
    for (const number of dropped) {
      extra.push({ key: keys.logRecord(number), value: undefined })
      const recent = this.#recent.get(number)
      if (recent === undefined) continue
      this.#recent.delete(number)
      this.#recentBytes -= recent.length
    }
  }

  #read(number: number): Promise<Buffer | undefined> {
    const recent = this.#recent.get(number)
    return recent === undefined ? this.#store.get(keys.logRecord(number)) : Promise.resolve(recent)
  }
}

function standbyAway(): DfsError {
  return new DfsError(
    'standbyAway',
    'the standby must have every change and cannot be reached: start it, or give it up with dfs-metadata forget-standby',
  )
}
