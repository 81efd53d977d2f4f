/**
 * Walks over one kind of records in order of key, for joins with other walks. Damaged records come
 * with their key and without a value; they and keys of a wrong shape are reported by the walk that is
 * told to.
 */
import type { OrderedStore, Scan, Scanned } from '../../store/ordered-store.ts'
import type { KeyRange } from '../store/keys.ts'
import { parts } from '../store/keys.ts'
import { rangeOf, type Kind } from '../store/layout.ts'
import type { Findings } from './findings.ts'

export interface CursorOptions<V> {
  readonly store: OrderedStore
  readonly kind: Kind<V>
  /** All of the kind unless told. */
  readonly range?: KeyRange
  /** Who is told of damage; of each range one walk tells. */
  readonly report?: Findings
  /** What a damaged record becomes, when its key says all that it held. */
  readonly mend?: (key: Buffer) => V
  /** Called for each page with the number of its records. */
  readonly onRecords: (count: number) => void
}

export interface Found<V> {
  readonly key: Buffer
  /** Undefined when the record is damaged. */
  readonly value: V | undefined
}

export class Cursor<V> {
  readonly #options: CursorOptions<V>
  readonly #scan: Scan
  #page: readonly Scanned[] = []
  #at = 0
  #current: Found<V> | undefined

  private constructor(options: CursorOptions<V>) {
    this.#options = options
    this.#scan = options.store.scan(options.range ?? rangeOf(options.kind))
  }

  /** A cursor at its first record. */
  static async open<V>(options: CursorOptions<V>): Promise<Cursor<V>> {
    const cursor = new Cursor(options)
    await cursor.advance()
    return cursor
  }

  /** Undefined when there are no more. */
  get current(): Found<V> | undefined {
    return this.#current
  }

  /** The number after the kind of the current key, a u64; Infinity when there are no more. */
  get id(): number {
    return this.#current === undefined ? Infinity : parts.id(this.#current.key)
  }

  async advance(): Promise<void> {
    const { keyBytes, letter } = this.#options.kind
    for (;;) {
      if (this.#at === this.#page.length && !(await this.#load())) {
        this.#current = undefined
        return
      }
      const entry = this.#page[this.#at++]
      if (entry === undefined) continue
      if (keyBytes === undefined || entry.key.length === keyBytes) {
        this.#current = { key: entry.key, value: await this.#decode(entry) }
        return
      }
      const detail = `key ${entry.key.toString('hex')} starts with ${letter} and has another length`
      await this.#options.report?.add('unknown', detail)
    }
  }

  /** The record with this number, if the cursor is at it; it goes on then. */
  async take(id: number): Promise<Found<V> | undefined> {
    if (this.id !== id) return undefined
    const found = this.#current
    await this.advance()
    return found
  }

  /** Goes on to the next record; returns the one it was at. For walks over everything. */
  async next(): Promise<Found<V> | undefined> {
    const found = this.#current
    if (found !== undefined) await this.advance()
    return found
  }

  close(): Promise<void> {
    return this.#scan.close()
  }

  async #load(): Promise<boolean> {
    this.#page = await this.#scan.next()
    this.#at = 0
    this.#options.onRecords(this.#page.length)
    return this.#page.length > 0
  }

  async #decode({ key, value }: Scanned): Promise<V | undefined> {
    const { kind, report, mend } = this.#options
    try {
      if (value !== undefined) return kind.table.decode(value)
    } catch {
      // A record that cannot be read is damaged, whatever its reader says of it.
    }
    const detail = `the ${kind.name} record ${key.toString('hex')} is damaged`
    if (mend === undefined) {
      await report?.add('damaged', detail)
      return undefined
    }
    const mended = mend(key)
    const changes = (): [{ key: Buffer; value: Uint8Array }] => [
      { key, value: kind.table.encode(mended) },
    ]
    await report?.add('index', detail, { always: true, changes })
    return mended
  }
}
