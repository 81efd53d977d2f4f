/**
 * Memory in which chunk files are put together before they go to the disk past the page cache.
 *
 * The kernel asks of such writes (O_DIRECT) that memory, position and length are multiples of the disk's
 * block. Node promises nothing about where a Buffer lies; a WebAssembly memory starts at a page, and takes no
 * room before it is used, only 10 GB of addresses. When all stages are out, a file is written the ordinary way.
 */
import type { Log } from '../../schema/rpc/api.ts'
import { bounds } from './bounds.ts'

/** Of the global that Node has without a type of its own. */
declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
}

/** Of a WebAssembly memory, bytes. */
const PAGE_BYTES = 65_536

export class StagePool {
  readonly #free: Buffer[] = []

  constructor(log: Log) {
    const pages = (bounds.stagesMax * bounds.stageBytes) / PAGE_BYTES
    let memory: ArrayBuffer
    try {
      memory = new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer
    } catch (error) {
      log.warn(
        { err: error },
        'no memory for writing past the page cache: chunk files go through it; is the address space of the process limited (ulimit -v)?',
      )
      return
    }
    for (let at = 0; at < memory.byteLength; at += bounds.stageBytes) {
      this.#free.push(Buffer.from(memory, at, bounds.stageBytes))
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
