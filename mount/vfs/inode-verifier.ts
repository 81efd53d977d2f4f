/**
 * Lets no inode in that its owner did not seal, and none that is older than one seen before.
 *
 * A seal alone does not stop a server from giving yesterday's inode again. So the highest version of
 * each inode seen in this mount's life is remembered (for the inodes used last), and a lower one is
 * refused — unless the request was under way when the newer one was seen: answers may overtake each
 * other, and such an answer is merely late. What was seen before this mount, and by other devices, is
 * in the version table (mount/freshness).
 */
import { LRUCache } from 'lru-cache'
import type { Inode } from '../../schema/generated/common.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { Log } from '../../schema/rpc/api.ts'
import type { InodeKey } from '../crypto/inode-key.ts'

/** Inodes whose version is remembered; about 250 bytes each. */
const VERSIONS_MAX = 65_536

interface Seen {
  version: number
  seal: Uint8Array
  /** When this version was first seen, on this verifier's own count of requests. */
  since: number
}

/** When a request was sent: what it may not be older than. */
export type RequestStart = number

export class InodeVerifier {
  readonly #seen = new LRUCache<number, Seen>({ max: VERSIONS_MAX })
  readonly #log: Log
  readonly #condemned: (inode: Inode) => string | undefined
  #now = 0

  /** `condemned` tells why an inode is too old by what this user's devices have seen before. */
  constructor(log: Log, condemned: (inode: Inode) => string | undefined = () => undefined) {
    this.#log = log
    this.#condemned = condemned
  }

  /** To be called before a request whose answer holds inodes. */
  start(): RequestStart {
    return ++this.#now
  }

  /**
   * Throws `notAuthentic` unless `inode` is sealed under `key` and not older than what had been seen
   * when the request started. `what` names it in the log.
   */
  verify(inode: Inode, key: InodeKey, started: RequestStart, what: string): void {
    try {
      key.verifyAttributes(inode.attributes)
      const condemned = this.#condemned(inode)
      if (condemned !== undefined) throw new DfsError('notAuthentic', condemned)
      this.#refuseOlder(inode, started)
    } catch (error) {
      if (error instanceof DfsError) {
        this.#log.error(
          { inode: inode.inode, what, version: inode.attributes.version, cause: error.message },
          'the metadata server gave an inode that does not verify',
        )
        throw new DfsError('notAuthentic', `${what} (inode ${inode.inode}): ${error.message}`, {
          cause: error,
        })
      }
      throw error
    }
  }

  /** Logs a refusal that happened on the way along a path, so that the line names it. */
  refused(path: string, error: DfsError): void {
    this.#log.error(
      { path, code: error.code, cause: error.message },
      'the metadata server gave what does not verify',
    )
  }

  #refuseOlder(inode: Inode, started: RequestStart): void {
    const { version, seal } = inode.attributes
    const seen = this.#seen.get(inode.inode)
    if (seen === undefined || version > seen.version) {
      this.#seen.set(inode.inode, { version, seal, since: ++this.#now })
      return
    }
    if (version === seen.version) {
      if (Buffer.compare(seal, seen.seal) === 0) return
      throw new DfsError(
        'notAuthentic',
        `version ${version} was another one before: history forked`,
      )
    }
    if (seen.since < started) {
      const detail = `version ${version} after version ${seen.version}: the server went back in time`
      throw new DfsError('notAuthentic', detail)
    }
  }
}
