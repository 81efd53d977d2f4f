/**
 * What the kernel may keep of our answers: names, attributes and pages, while nobody else can change the
 * tree. Each answer says for how long.
 *
 * Nothing is called back from the kernel. So before somebody else gets at the tree,
 * {@link KernelCache.drain} waits until the last period that was granted is over.
 */
import { constants } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { FileSystem, Handle } from '../vfs/api.ts'
import type { Node } from './node-table.ts'
import { OPENED } from './protocol.ts'

/** How long the kernel may keep names and attributes, ms. */
export const KEPT_MS = 500
/** From our taking the time until the kernel has taken the answer, ms, on a busy machine. */
const HANDED_OVER_MS = 100
const SET_ID_BITS = 0o6000

export class KernelCache {
  readonly #fs: Pick<FileSystem, 'soleUse' | 'identity'>
  /** Time of the last answer that the kernel may keep. */
  #grantedMs = -Infinity

  constructor(fs: Pick<FileSystem, 'soleUse' | 'identity'>) {
    this.#fs = fs
  }

  /** To be kept until the answer to a request is known. */
  get soleUse(): object | undefined {
    return this.#fs.soleUse
  }

  /** How long an answer to a request that came under `soleUse` may be kept, ms; to be sent at once. */
  keptMs(soleUse: object | undefined): number {
    if (soleUse === undefined || soleUse !== this.#fs.soleUse) return 0
    this.#grantedMs = performance.now()
    return KEPT_MS
  }

  /** The same for attributes: not those that change when a file is saved, which the kernel does not see. */
  attributesMs({ mode, isWritten }: Pick<Node, 'mode' | 'isWritten'>, keptMs: number): number {
    // Nor those that a write takes away.
    const file = (mode & constants.S_IFMT) === constants.S_IFREG
    return isWritten || (file && (mode & SET_ID_BITS) !== 0) ? 0 : keptMs
  }

  /** Flags for the answer to an open: whether the pages of last time still hold. */
  opening(node: Node, handle: Handle, soleUse: object | undefined): number {
    const known = node.pages
    node.pages = undefined
    if (soleUse === undefined || soleUse !== this.#fs.soleUse) return 0
    const { failures } = this.#fs.identity(handle)
    node.pages = { soleUse, failures }
    return known?.soleUse === soleUse && known.failures === failures ? OPENED.keepCache : 0
  }

  /** Resolves when the kernel keeps nothing any more. To be called when the sole use is over. */
  async drain(): Promise<void> {
    const leftMs = this.#grantedMs + KEPT_MS + HANDED_OVER_MS - performance.now()
    if (leftMs > 0) await pause(leftMs)
  }
}
