/**
 * Memory in which chunk files are put together before they go to the disk past the page cache.
 *
 * The kernel asks of such writes (O_DIRECT) that memory, position and length are multiples of the disk's
 * block. Node promises nothing about where a Buffer lies; a WebAssembly memory starts at a page, and takes no
 * room before it is used. When all stages are out, a file is written the ordinary way.
 */
import { bounds } from './bounds.ts'

/** Of the global that Node has without a type of its own. */
declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
}

/** Of a WebAssembly memory, bytes. */
const PAGE_BYTES = 65_536

export class StagePool {
  readonly #free: Buffer[] = []

  constructor(count: number = bounds.stagesMax) {
    const pages = (count * bounds.stageBytes) / PAGE_BYTES
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages })
    for (let i = 0; i < count; i++) {
      this.#free.push(Buffer.from(buffer, i * bounds.stageBytes, bounds.stageBytes))
    }
  }

  take(): Buffer | undefined {
    return this.#free.pop()
  }

  /** Nobody may use the stage any more. */
  give(stage: Buffer): void {
    this.#free.push(stage)
  }
}
