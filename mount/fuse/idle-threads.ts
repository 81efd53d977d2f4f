/**
 * Lets libfuse keep more of its threads.
 *
 * libfuse 2.9.9 ends a thread whenever more than 10 are idle and starts new ones at the next burst.
 * fuse-native never frees what belongs to a thread: a buffer, a reference and a handle of the event
 * loop. So their number grows without end: three bursts of 64 programs started 1,070 to 1,270 threads,
 * and 67 to 70 with this change, all in the first burst. At such numbers neither memory nor the time
 * of a request differed; this is for mounts that live for months. The 10 is a constant in the code of
 * the library that the package ships, so it is replaced there, before anything is mounted, and only
 * when the code around it is exactly the one we know. If it is not, everything works, and the log
 * tells.
 */
import { readFileSync } from 'node:fs'
import { withMemory } from './process-memory.ts'
import type { ProcessMemory } from './process-memory.ts'

/** Idle threads kept: the largest number that fits in the place. Each has a request buffer of 135 kB. */
const idleThreadsMax = 127
const idleThreadsMaxBefore = 10

/** A comparison with the constant, as it stands in fuse_do_work (lib/fuse_loop_mt.c). */
interface Place {
  /** From the start of the library, bytes. */
  readonly offset: number
  readonly code: readonly number[]
  /** Of the constant, within `code`. */
  readonly constant: number
}

/** cmp eax, 10 after a request, and after a "forget". */
const places: readonly Place[] = [
  { offset: 0x13491, code: [0x83, 0xf8, 0x0a, 0x89, 0x43, 0x2c, 0x7f, 0x78], constant: 2 },
  { offset: 0x13509, code: [0x8b, 0x43, 0x2c, 0x83, 0xf8, 0x0a, 0x7e, 0x88], constant: 5 },
]

/** Keeps more idle threads in the loaded `library`; false when it is not the one we know. */
export function keepIdleThreads(library: string): boolean {
  const base = baseOf(library)
  if (base === undefined) return false
  return withMemory((memory) => {
    if (!places.every((place) => isAt(memory, base, place))) return false
    return places.every(({ offset, constant }) =>
      memory.write(base + offset + constant, Uint8Array.of(idleThreadsMax)),
    )
  })
}

/** Where the library starts in memory. */
function baseOf(library: string): number | undefined {
  for (const line of readFileSync('/proc/self/maps', 'utf8').split('\n')) {
    const [range = '', , offset = '', , , path] = line.split(/\s+/)
    if (path === library && Number.parseInt(offset, 16) === 0) return Number.parseInt(range, 16)
  }
  return undefined
}

/** True also when an earlier mount of this process has been here. */
function isAt(memory: ProcessMemory, base: number, { offset, code, constant }: Place): boolean {
  const found = memory.read(base + offset, code.length)
  if (found[constant] === idleThreadsMax) found[constant] = idleThreadsMaxBefore
  return found.equals(Buffer.from(code))
}
