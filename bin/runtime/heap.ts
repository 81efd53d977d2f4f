/**
 * How V8 is told to collect garbage in a process whose memory is mostly buffers outside of its heap.
 */
import { setFlagsFromString } from 'node:v8'

/**
 * Lets the heap grow by `percent` of itself until V8 marks all of it. To be called first.
 *
 * V8 adds the buffers made since the last marking to a heap of some 20 MB, and left alone it marks all of
 * that for every 5 MB that a process moves: a third of its CPU. A larger growth costs that much memory:
 * with 200 % about 20 MiB, with 400 % up to 75. Marking ends with a stop that grows with the buffers that
 * died since the last one, so who must answer others soon takes little.
 */
export function growHeap(percent: number): void {
  setFlagsFromString(`--heap-growing-percent=${percent}`)
}
