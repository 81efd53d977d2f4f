/**
 * Gives back the memory of received datagrams before V8 finds that there is too much of it.
 *
 * Node receives each datagram into a new buffer that V8 counts as 64 KiB, and the objects around it are
 * so small that hundreds of them wait until the young generation is full. Long before that V8 has
 * counted enough to mark the whole heap, which took a fifth of a chunkserver's CPU. Collecting the
 * young generation, where nearly everything is dead by then, costs far less.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Datagrams after which the young generation is collected: 16 MiB as V8 counts. */
const DATAGRAMS_MAX = 256

type Collect = (options: { readonly type: 'minor' }) => void

let received = 0
const collect = collector()

/** To be called for each datagram. */
export function datagramReceived(): void {
  if (++received < DATAGRAMS_MAX) return
  received = 0
  collect?.({ type: 'minor' })
}

/** V8's own collector; undefined in an engine that does not give it away. */
function collector(): Collect | undefined {
  setFlagsFromString('--expose-gc')
  const found: unknown = runInNewContext('typeof gc === "function" ? gc : undefined')
  return found as Collect | undefined
}
