/**
 * The ordered store in memory, for simulations: the same contract as the engine's, with what a kill
 * and a power cut leave behind, and with damage on demand. Keeps everything; never for serving.
 */
import { invariant } from '../../schema/wire/invariant.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type {
  Change,
  Entry,
  OrderedStore,
  RangeOptions,
  Scan,
  Scanned,
} from '../../server/store/ordered-store.ts'

/** Entries of one page of a scan. */
const PAGE = 16

type Records = Map<string, Buffer>

/** What is kept when the store is closed and opened again. */
export class MemoryDisk {
  /** By key as latin1 text, which orders as the bytes do. */
  records: Records = new Map()
  readonly damaged = new Set<string>()
  /** The open store; there is one at a time. */
  owner: MemoryStore | undefined

  open(): MemoryStore {
    if (this.owner !== undefined) throw new DfsError('directoryInUse', 'this disk is in use')
    this.owner = new MemoryStore(this)
    return this.owner
  }

  /** Damages records. */
  damage(keys: readonly Buffer[]): void {
    for (const key of keys) this.damaged.add(text(key))
  }

  /** The process is gone at once: what was written stays, what was not is lost. */
  kill(): void {
    this.owner?.dead()
    this.owner = undefined
  }
}

const text = (key: Buffer): string => key.toString('latin1')

class MemoryStore implements OrderedStore {
  readonly #disk: MemoryDisk
  #state: 'open' | 'closed' | 'dead' = 'open'
  #busy = 0
  #idle: (() => void) | undefined
  #closed: Promise<void> | undefined

  constructor(disk: MemoryDisk) {
    this.#disk = disk
  }

  dead(): void {
    this.#state = 'dead'
  }

  get(key: Buffer): Promise<Buffer | undefined> {
    return this.#call(() => this.#value(text(key)) ?? undefined)
  }

  getMany(
    keys: readonly Buffer[],
    onCorrupt?: (index: number) => void,
  ): Promise<(Buffer | undefined)[]> {
    return this.#call(() =>
      keys.map((key, i) => {
        if (onCorrupt === undefined || !this.#disk.damaged.has(text(key))) {
          return this.#value(text(key))
        }
        onCorrupt(i)
        return undefined
      }),
    )
  }

  range({ from, to, limit, reverse = false, onCorrupt }: RangeOptions): Promise<Entry[]> {
    invariant(limit >= 1 && from.length > 0 && to.length > 0, 'a range read is bounded')
    return this.#call(() => {
      const names = this.#between(from, to)
      if (reverse) names.reverse()
      const entries: Entry[] = []
      for (const name of names.slice(0, limit)) {
        const key = Buffer.from(name, 'latin1')
        if (onCorrupt !== undefined && this.#disk.damaged.has(name)) onCorrupt(key)
        else entries.push({ key, value: this.#value(name) ?? Buffer.alloc(0) })
      }
      return entries
    })
  }

  scan({ from, to }: Pick<RangeOptions, 'from' | 'to'>): Scan {
    invariant(this.#state !== 'closed', 'the store is closed')
    this.#busy++
    const names = this.#between(from, to)
    const all: Scanned[] = names.map((name) => ({
      key: Buffer.from(name, 'latin1'),
      value: this.#disk.damaged.has(name) ? undefined : this.#disk.records.get(name),
    }))
    let at = 0
    let closed = false
    return {
      next: () => this.#later(() => all.slice(at, (at += PAGE))),
      close: async () => {
        if (!closed) this.#leave()
        closed = true
      },
    }
  }

  write(changes: readonly Change[], _options: { readonly sync: boolean }): Promise<void> {
    return this.#call(() => {
      const after: Records = new Map(this.#disk.records)
      for (const { key, value } of changes) {
        this.#disk.damaged.delete(text(key))
        if (value === undefined) after.delete(text(key))
        else after.set(text(key), Buffer.from(value))
      }
      this.#disk.records = after
    })
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#state === 'dead') return
    this.#state = 'closed'
    if (this.#busy > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    this.#disk.owner = undefined
  }

  #call<R>(work: () => R): Promise<R> {
    invariant(this.#state !== 'closed', 'the store is closed')
    return this.#later(work)
  }

  /** Does something a turn later, as an engine would; never for a process that is gone. */
  #later<R>(work: () => R): Promise<R> {
    this.#busy++
    return new Promise((resolve, reject) => {
      setImmediate(() => {
        if (this.#state === 'dead') return
        try {
          resolve(work())
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)))
        } finally {
          this.#leave()
        }
      })
    })
  }

  #leave(): void {
    this.#busy--
    if (this.#busy === 0) this.#idle?.()
  }

  #value(name: string): Buffer | undefined {
    if (this.#disk.damaged.has(name)) {
      throw new DfsError('recordCorrupt', `the record ${name} is damaged`)
    }
    return this.#disk.records.get(name)
  }

  #between(from: Buffer, to: Buffer): string[] {
    const [low, high] = [text(from), text(to)]
    return [...this.#disk.records.keys()].filter((name) => name >= low && name < high).sort()
  }
}
