/**
 * Which chunkservers take a chunk. Pure: topology, policy and chance come in, ids go out.
 *
 * The servers are distinct. When candidates stand in two racks or more and two replicas or more are
 * asked for, the first two are in different racks. Beyond that, chance weighted by free space and
 * idleness, so that a new empty server fills up without taking every write.
 */

/** A chunkserver that can take a chunk: alive and not full. */
export interface Candidate {
  readonly id: number
  readonly rack: string
  readonly freeBytes: number
  /** Requests in progress. */
  readonly load: number
}

/** A number from 0 up to but not including 1. */
export type Random = () => number

/** Requests in progress that halve a server's chance. */
const LOAD_HALF = 32

/**
 * Ids of up to `count` servers, the first to be written to first; fewer when there are not enough
 * candidates.
 */
export function place(
  candidates: readonly Candidate[],
  count: number,
  exclude: ReadonlySet<number>,
  random: Random,
): number[] {
  let left = candidates.filter(({ id }) => !exclude.has(id))
  const chosen: Candidate[] = []
  while (chosen.length < count && left.length > 0) {
    const picked = pick(preferred(left, chosen), random)
    chosen.push(picked)
    left = left.filter(({ id }) => id !== picked.id)
  }
  return chosen.map(({ id }) => id)
}

/** For the second replica: the candidates in other racks, when there are any. */
function preferred(left: readonly Candidate[], chosen: readonly Candidate[]): readonly Candidate[] {
  const [first] = chosen
  if (first === undefined || chosen.length > 1) return left
  const elsewhere = left.filter(({ rack }) => rack !== first.rack)
  return elsewhere.length > 0 ? elsewhere : left
}

/** A server with no free byte left still has a chance, a small one: it is for it to refuse. */
export const weight = ({ freeBytes, load }: Candidate): number =>
  ((freeBytes + 1) * LOAD_HALF) / (LOAD_HALF + load)

function pick(from: readonly Candidate[], random: Random): Candidate {
  let sum = 0
  for (const candidate of from) sum += weight(candidate)
  let at = random() * sum
  for (const candidate of from) {
    at -= weight(candidate)
    if (at < 0) return candidate
  }
  // Rounding can leave a rest above the last weight.
  return from[from.length - 1] as Candidate
}
