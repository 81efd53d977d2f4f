/**
 * This process's own memory, for what of libfuse 2.9.9 neither it nor fuse-native lets anybody
 * configure. Callers must check what they find before they write.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs'

/** Runs `body` with access to the memory. Throws Node's own errors where a kernel forbids that. */
export function withMemory<T>(body: (memory: ProcessMemory) => T): T {
  const memory = openMemory()
  try {
    return body(memory)
  } finally {
    memory.close()
  }
}

/** Access to the memory until it is closed. Throws Node's own errors where a kernel forbids that. */
export function openMemory(): ProcessMemory {
  return new ProcessMemory(openSync('/proc/self/mem', 'r+'))
}

/** Addresses are below 2^47, as user memory is. */
export class ProcessMemory {
  readonly #descriptor: number

  constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  /** Fewer bytes, or none, where there is no memory. */
  read(address: number, byteCount: number): Buffer {
    const bytes = Buffer.alloc(byteCount)
    try {
      return bytes.subarray(0, readSync(this.#descriptor, bytes, 0, byteCount, address))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EIO') return bytes.subarray(0, 0)
      throw error
    }
  }

  /** True when all was written. */
  write(address: number, bytes: Uint8Array): boolean {
    return writeSync(this.#descriptor, bytes, 0, bytes.length, address) === bytes.length
  }

  close(): void {
    closeSync(this.#descriptor)
  }
}
