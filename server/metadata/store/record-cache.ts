/**
 * The records that were used last, decoded, within a budget of bytes. Also remembers that a key has
 * no record, so that creating a file asks the engine once. Everything in it is durable or is in the
 * committer's overlay as well: dropping an entry never loses anything.
 */
import { LRUCache } from 'lru-cache'

/** Bytes that an entry costs beside its key and its record's encoded form: objects, map slots. */
const OVERHEAD_BYTES = 700

/** `value` is undefined when the key is known to have no record. */
export interface Cached {
  readonly value: unknown
}

export class RecordCache {
  readonly #entries: LRUCache<string, Cached>

  /** `budgetBytes`: what the entries may cost together, as counted here. */
  constructor(budgetBytes: number) {
    this.#entries = new LRUCache({ maxSize: budgetBytes })
  }

  get(key: string): Cached | undefined {
    return this.#entries.get(key)
  }

  /** `encodedBytes`: length of the record as stored, 0 for none. */
  set(key: string, value: unknown, encodedBytes: number): void {
    this.#entries.set(key, { value }, { size: key.length + 2 * encodedBytes + OVERHEAD_BYTES })
  }

  /** Counted bytes in use. */
  get bytes(): number {
    return this.#entries.calculatedSize
  }
}
