/**
 * What is to be done about the replicas of a chunk, and from where to where it is copied. Pure: how
 * the servers are comes in, decisions go out.
 *
 * Laws, tested as such: a replica is given up only while enough good ones stay; the last good one
 * never; a damaged one is never the source of a copy; a new replica stands in another rack than the
 * only other one whenever some server there could take it.
 */
import { place, type Random } from '../placement.ts'

/** A replica of a chunk, and how its server is. */
export interface Replica {
  readonly server: number
  readonly rack: string
  /** Heard of lately. */
  readonly alive: boolean
  /** Given up until it registers again. */
  readonly lost: boolean
  /** Revoked or unknown: it never comes back. */
  readonly gone: boolean
  /** Its chunks are being copied away. */
  readonly leaving: boolean
  /** What it says it has, it was seen to have. */
  readonly inventoried: boolean
  /** This copy is damaged or missing. */
  readonly damaged: boolean
  readonly freeBytes: number
}

export interface Verdict {
  /** Good replicas on servers that are not lost; with 0 the chunk cannot be read. */
  readonly living: number
  /** Fewer replicas than wanted will stay. */
  readonly wanting: boolean
  /** Servers whose replica is to be given up. */
  readonly surplus: readonly number[]
}

/** Places of a chunk that are remembered; beyond, those on lost servers are given up. */
const PLACES_MAX = 8

const living = ({ damaged, lost, gone }: Replica): boolean => !damaged && !lost && !gone
const lasting = (replica: Replica): boolean => living(replica) && !replica.leaving

/** Judges the replicas of a chunk of which `wanted` are to be kept. */
export function judge(replicas: readonly Replica[], wanted: number): Verdict {
  const staying = replicas.filter(lasting)
  const wanting = staying.length < wanted
  const all = replicas.filter(living).length
  if (wanting) return { living: all, wanting, surplus: [] }
  const present = staying.filter(({ alive }) => alive)
  const surplus: Replica[] = replicas.filter(
    ({ gone, damaged, leaving }) =>
      gone || (damaged && present.length > 0) || (leaving && present.length >= wanted),
  )
  const rest = replicas.filter((replica) => !surplus.includes(replica))
  const lost = rest.filter((replica) => replica.lost)
  const tooMany = Math.max(0, rest.length - PLACES_MAX)
  if (present.length >= wanted) surplus.push(...lost.slice(0, tooMany))
  const sure = present.filter(({ inventoried }) => inventoried)
  surplus.push(...superfluous(sure, wanted))
  return { living: all, wanting, surplus: surplus.map(({ server }) => server) }
}

/** Those beyond `wanted`, from the fullest servers, so that two racks stay where there are two. */
function superfluous(sure: readonly Replica[], wanted: number): Replica[] {
  const given: Replica[] = []
  let left = [...sure].sort((a, b) => a.freeBytes - b.freeBytes)
  while (left.length > wanted) {
    const rackCount = Math.min(racksOf(left).size, wanted, 2)
    const next = left.find(
      (replica) => racksOf(left.filter((other) => other !== replica)).size >= rackCount,
    )
    if (next === undefined) break
    given.push(next)
    left = left.filter((replica) => replica !== next)
  }
  return given
}

const racksOf = (replicas: readonly Replica[]): Set<string> =>
  new Set(replicas.map(({ rack }) => rack))

/** A server that may take a replica: alive, not full, not leaving. */
export interface Target {
  readonly id: number
  readonly rack: string
  readonly freeBytes: number
  readonly load: number
  /** It takes as many copies as it may. */
  readonly busy: boolean
}

export interface CopyChoice {
  readonly source: number
  readonly target: number
}

export interface CopyQuestion {
  readonly replicas: readonly Replica[]
  readonly targets: readonly Target[]
  /** Servers that just failed with this chunk. */
  readonly avoid: ReadonlySet<number>
  /** Copies that a server gives just now, and how many it may. */
  readonly given: (server: number) => number
  readonly givenMax: number
}

/** From where to where; `busy` when that must wait for its turn, undefined when it cannot be done. */
export function chooseCopy(
  question: CopyQuestion,
  random: Random,
): CopyChoice | 'busy' | undefined {
  const { replicas, targets, avoid, given, givenMax } = question
  const sources = replicas.filter(
    (replica) => living(replica) && replica.alive && !avoid.has(replica.server),
  )
  if (sources.length === 0) return undefined
  const held = new Map(replicas.map((replica) => [replica.server, replica]))
  const able = targets.filter(({ id }) => {
    const replica = held.get(id)
    return !avoid.has(id) && (replica === undefined || replica.damaged)
  })
  if (able.length === 0) return undefined
  const racks = racksOf(replicas.filter(lasting))
  const elsewhere = racks.size === 1 ? able.filter(({ rack }) => !racks.has(rack)) : []
  const inRack = elsewhere.length > 0 ? elsewhere : able
  // A disk that damaged a chunk once is the second choice.
  const fresh = inRack.filter(({ id }) => !held.has(id))
  const preferred = fresh.length > 0 ? fresh : inRack
  const source = leastBusy(sources, given)
  const free = preferred.filter(({ busy }) => !busy)
  if (free.length === 0 || given(source) >= givenMax) return 'busy'
  const [target] = place(free, 1, NONE, random)
  return target === undefined ? undefined : { source, target }
}

function leastBusy(sources: readonly Replica[], given: (server: number) => number): number {
  let best = Infinity
  let source = 0
  for (const { server } of sources) {
    if (given(server) >= best) continue
    best = given(server)
    source = server
  }
  return source
}

const NONE: ReadonlySet<number> = new Set()
