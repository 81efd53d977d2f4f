/**
 * Directory entries as they were opened last: they save deriving tokens and opening sealed entries
 * again. Never believed: a server's answer decides what a name means now.
 */
import { LRUCache } from 'lru-cache'
import type { InodeKey } from '../crypto/inode-key.ts'

/** Entries kept; each with the keys derived from its secret, about 1.5 KiB. */
const DENTRIES_MAX = 16_384

export interface Dentry {
  readonly token: Buffer
  /** The sealed entry that was opened. */
  readonly entry: Uint8Array
  readonly kind: number
  readonly inode: number
  readonly key: InodeKey
}

export class DentryCache {
  readonly #dentries = new LRUCache<string, Dentry>({ max: DENTRIES_MAX })

  get(directory: number, name: string): Dentry | undefined {
    return this.#dentries.get(`${directory}/${name}`)
  }

  set(directory: number, name: string, dentry: Dentry): void {
    this.#dentries.set(`${directory}/${name}`, dentry)
  }

  delete(directory: number, name: string): void {
    this.#dentries.delete(`${directory}/${name}`)
  }
}
