/**
 * Openers of chunks that are being read, so that a chunk's key is derived once for many requests.
 *
 * An opener belongs to one reader at a time. A few that nobody uses are kept; the keys of all others
 * are zeroed.
 */
import { ChunkOpener } from '../crypto/chunk-cipher.ts'
import type { InodeKey } from '../crypto/inode-key.ts'

/** Openers that nobody uses, at most. */
const IDLE_MAX = 32

export interface ChunkToOpen {
  readonly chunk: number
  /** As the server that is asked gave it: replicas might differ, so nothing is taken for granted. */
  readonly header: Uint8Array
  /** Plaintext bytes of the chunk. */
  readonly length: number
}

interface Idle extends ChunkToOpen {
  readonly key: InodeKey
  readonly opener: ChunkOpener
}

export class ChunkOpeners {
  /** The one given back last stands last. */
  readonly #idle: Idle[] = []
  readonly #taken = new Map<ChunkOpener, Idle>()

  /** An opener for the caller alone. Throws `notAuthentic` or `notSupported` for a bad header. */
  take(key: InodeKey, wanted: ChunkToOpen): ChunkOpener {
    const index = this.#idle.findLastIndex((idle) => idle.key === key && isSame(idle, wanted))
    const [found] = index < 0 ? [] : this.#idle.splice(index, 1)
    const taken = found ?? {
      ...wanted,
      header: Uint8Array.from(wanted.header),
      key,
      opener: new ChunkOpener(key, wanted),
    }
    this.#taken.set(taken.opener, taken)
    return taken.opener
  }

  giveBack(opener: ChunkOpener): void {
    const taken = this.#taken.get(opener)
    if (taken === undefined) return
    this.#taken.delete(opener)
    this.#idle.push(taken)
    if (this.#idle.length > IDLE_MAX) this.#idle.shift()?.opener.erase()
  }

  /** Zeroes the keys of all that nobody uses. */
  erase(): void {
    for (const { opener } of this.#idle.splice(0)) opener.erase()
  }
}

function isSame(a: ChunkToOpen, b: ChunkToOpen): boolean {
  return a.chunk === b.chunk && a.length === b.length && Buffer.compare(a.header, b.header) === 0
}
