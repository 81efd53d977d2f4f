/**
 * Memory for what is read and written: the piece at hand, and those that the file system still works
 * with. When all are out, the mount takes no more requests until one comes back.
 */
import { TRANSFER_BYTES } from './protocol.ts'

/** Bytes in front of the data, for headers, and behind it, to end a name in any case. */
const MARGIN_BYTES = 4_096

export class TransferBuffers {
  readonly #spare: Buffer[] = []
  readonly #onBack: () => void
  #left: number
  #current: Buffer | undefined

  /** `onBack` is called when there is one again after there was none. */
  constructor(max: number, onBack: () => void) {
    this.#left = max
    this.#onBack = onBack
  }

  /** The piece at hand: the same until it is kept. Undefined when all are out. */
  get current(): Buffer | undefined {
    this.#current ??= this.#spare.pop() ?? this.#made()
    return this.#current
  }

  /** Somebody goes on using the piece at hand, until {@link giveBack}. */
  keep(): void {
    this.#current = undefined
  }

  giveBack(buffer: Buffer): void {
    const none = this.current === undefined
    this.#spare.push(buffer)
    if (none) this.#onBack()
  }

  #made(): Buffer | undefined {
    if (this.#left === 0) return undefined
    this.#left--
    return Buffer.allocUnsafeSlow(TRANSFER_BYTES + MARGIN_BYTES)
  }
}
