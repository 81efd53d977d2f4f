/**
 * The part of a metadata server that keeps a tree's state, in memory, for one user: honest, and to be
 * copied and exchanged for an older copy by a test.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type {
  ReadTreeStateRequest,
  ReadTreeStateResponse,
  WriteTreeStateRequest,
} from '../../schema/generated/metadata.ts'
import type { InodeKey } from '../../mount/crypto/inode-key.ts'
import type { KeeperOptions } from '../../mount/freshness/tree-keeper.ts'
import { methods } from '../../schema/methods.ts'
import type { Method } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'

interface Stored {
  counter: number
  state: Uint8Array
  pages: Map<number, Uint8Array>
}

export class TreeServer {
  stored: Stored = { counter: 0, state: new Uint8Array(0), pages: new Map() }
  /** Milliseconds that an answer takes, and a request before it. */
  delayMs: () => number = () => 0
  /** Called instead of answering the next write, once it is done. */
  loseAnswer: (() => void) | undefined
  reads = 0
  writes = 0

  copy(): Stored {
    return { ...this.stored, pages: new Map(this.stored.pages) }
  }

  /** What a keeper of `device` talks to. */
  session(rootKey: InodeKey, device: number): KeeperOptions['session'] {
    return {
      rootKey,
      device,
      read: async <Q, R>(method: Method<Q, R>, request: Q): Promise<R> => {
        await this.#pause()
        const answer =
          method.id === methods.writeTreeState.id
            ? this.#write(request as WriteTreeStateRequest)
            : this.#read(request as ReadTreeStateRequest)
        await this.#pause()
        return answer as R
      },
    }
  }

  #read({ pages }: ReadTreeStateRequest): ReadTreeStateResponse {
    this.reads++
    const { counter, state, pages: stored } = this.stored
    const found = pages.map((page) => ({ page, bytes: stored.get(page) ?? new Uint8Array(0) }))
    return { counter, state, pages: found }
  }

  #write({ counter, state, pages }: WriteTreeStateRequest): object {
    this.writes++
    if (counter !== this.stored.counter)
      throw new DfsError('versionConflict', 'somebody was faster')
    this.stored = { counter: counter + 1, state, pages: new Map(this.stored.pages) }
    for (const { page, bytes } of pages) this.stored.pages.set(page, bytes)
    const { loseAnswer } = this
    this.loseAnswer = undefined
    loseAnswer?.()
    return {}
  }

  async #pause(): Promise<void> {
    const delayMs = this.delayMs()
    if (delayMs > 0) await sleep(delayMs)
  }
}
