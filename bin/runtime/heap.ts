/**
 * How V8 is told to collect garbage in a process whose memory is mostly buffers outside of its heap.
 */
import { setFlagsFromString } from 'node:v8'

/** By how much of itself the heap may grow until it is collected, percent. */
const GROWTH_PERCENT = 400

/**
 * Lets buffers that come and go count less. V8 adds them to its heap when it decides about marking all
 * of it: a mount that copies data has a heap of 20 MB and 100 times as much in buffers each second, and
 * marked it for every 6 MB written. Now its own limit of 64 MB of buffers decides. To be called first.
 */
export function collectForBuffers(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`)
}
