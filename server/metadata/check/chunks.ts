/**
 * Fourth part of a check: every chunk beside the windows that name it, and beside the lists of its
 * servers: what each has, and what each is told to delete; and beside the queue for repair. All of it
 * is in the order of chunks.
 */
import type { PlacedChunkRecord } from '../../../schema/generated/records.ts'
import { prefixEnd, type Change, type OrderedStore } from '../../store/ordered-store.ts'
import { counterNames } from '../store/counters.ts'
import { keys, parts, ranges, type KeyRange } from '../store/keys.ts'
import { layout, rangeOf, type Kind } from '../store/layout.ts'
import { tables } from '../store/tables.ts'
import type { Context } from './context.ts'
import type { Cursor } from './cursor.ts'
import { RepairQueueCheck } from './repair-queue.ts'
import type { FactReader, SortedFacts } from './sorted-facts.ts'

/** Chunks with damaged records that are remembered; beyond, entries of servers' lists are believed. */
const DAMAGED_MAX = 100_000

/** The two lists of one server. */
interface Lists {
  readonly has: Cursor<true>
  readonly deletes: Cursor<true>
}

/** Reads 128 KiB ahead for each chunkserver. */
export async function checkChunks(context: Context, references: SortedFacts): Promise<void> {
  const lists = new Map<number, Lists>()
  for (const server of await listedServers(context.store)) {
    lists.set(server, {
      has: await context.walk(layout.serverChunks, {
        range: ranges.serverChunks(server),
        mend: () => true,
      }),
      deletes: await context.walk(layout.deletes, {
        range: ranges.deletes(server),
        mend: () => true,
      }),
    })
  }
  const damaged = new Set<number>()
  const queue = await RepairQueueCheck.open(
    context,
    (chunk) => damaged.has(chunk) || damaged.size >= DAMAGED_MAX,
  )
  const check = new ChunkCheck(context, lists, queue, damaged)
  const chunks = await context.walk(layout.chunks)
  const reader = references.sorted()
  for (;;) {
    const id = Math.min(chunks.id, reader.id)
    if (id === Infinity) break
    context.highest.see('chunks', id)
    const named = namesOf(reader, id)
    const chunk = await chunks.take(id)
    if (chunk === undefined) await check.withoutRecord(id, named)
    else if (chunk.value === undefined) check.damaged(id)
    else await check.check(id, chunk.value, named)
  }
  await check.finish()
  await context.endWalks()
}

/** What windows say of a chunk. */
interface Named {
  windows: number
  /** Inodes that name it, the first of them; 0 for none. */
  inode: number
  /** Another one, if there is; 0 for none. */
  other: number
  reach: number
}

function namesOf(reader: FactReader, id: number): Named {
  const named: Named = { windows: 0, inode: 0, other: 0, reach: 0 }
  for (; reader.id === id; reader.advance()) {
    named.windows++
    named.reach = Math.max(named.reach, reader.field(2))
    const inode = reader.field(1)
    if (inode === 0 || inode === named.inode) continue
    if (named.inode === 0) named.inode = inode
    else named.other = inode
  }
  return named
}

/** The servers that have a list of any kind, found without reading the lists. */
async function listedServers(store: OrderedStore): Promise<Set<number>> {
  const servers = new Set<number>()
  for (const kind of [layout.serverChunks, layout.deletes] as Kind<true>[]) {
    let range: KeyRange = rangeOf(kind)
    for (;;) {
      let key: Buffer | undefined
      const onCorrupt = (damaged: Buffer): void => void (key = damaged)
      const [first] = await store.range({ ...range, limit: 1, onCorrupt })
      key ??= first?.key
      if (key === undefined) break
      if (key.length === kind.keyBytes) servers.add(key.readUInt32BE(1))
      // A key of a wrong shape must not keep us here.
      const from = key.length >= 5 ? prefixEnd(key.subarray(0, 5)) : Buffer.concat([key, ZERO])
      if (from.compare(range.to) >= 0) break
      range = { from, to: range.to }
    }
  }
  return servers
}

const ZERO = Buffer.alloc(1)

class ChunkCheck {
  readonly #context: Context
  readonly #lists: ReadonlyMap<number, Lists>
  readonly #queue: RepairQueueCheck
  readonly #damaged: Set<number>

  constructor(
    context: Context,
    lists: ReadonlyMap<number, Lists>,
    queue: RepairQueueCheck,
    damaged: Set<number>,
  ) {
    this.#context = context
    this.#lists = lists
    this.#queue = queue
    this.#damaged = damaged
  }

  async withoutRecord(id: number, { inode }: Named): Promise<void> {
    const who = inode === 0 ? 'content to be purged' : `inode ${inode}`
    await this.#context.findings.add('missing', `${who} names chunk ${id}, which has no record`)
  }

  damaged(id: number): void {
    this.#context.counters.add(counterNames.chunks)
    if (this.#damaged.size < DAMAGED_MAX) this.#damaged.add(id)
  }

  async check(id: number, record: PlacedChunkRecord, named: Named): Promise<void> {
    const { findings, counters, servers } = this.#context
    counters.add(counterNames.chunks)
    for (const server of record.servers) {
      await this.#checkServer(id, server)
      if (!servers.has(server)) {
        await findings.add(
          'missing',
          `chunk ${id} is on chunkserver ${server}, which has no record`,
        )
      }
    }
    await this.#queue.check(id, record)
    await this.#checkDamage(id, record)
    if (record.servers.length === 0) await findings.add('missing', `chunk ${id} has no replica`)
    if (named.windows === 0) {
      const changes = (): Change[] => deleted(id, record)
      await findings.add('garbage', `chunk ${id} is named by no window`, { changes })
      return
    }
    if (record.windows !== named.windows) {
      const key = keys.chunk(id)
      const value = tables.chunks.encode({ ...record, windows: named.windows })
      const detail = `chunk ${id} counts ${record.windows} windows and is named by ${named.windows}`
      // Named more often than it counts: it would be deleted while it is named.
      const always = named.windows > record.windows
      await findings.add('count', detail, { always, changes: () => [{ key, value }] })
    }
    const strangers = [named.inode, named.other].filter((n) => n !== 0 && n !== record.inode)
    for (const stranger of strangers) {
      const detail = `inode ${stranger} names chunk ${id}, which belongs to inode ${record.inode}`
      await findings.add('conflict', detail)
    }
    if (named.reach > record.length) {
      const detail = `chunk ${id} has ${record.length} bytes and is read up to byte ${named.reach}`
      await findings.add('conflict', detail)
    }
  }

  async #checkDamage(id: number, record: PlacedChunkRecord): Promise<void> {
    const damaged = record.damaged.filter((server) => record.servers.includes(server))
    if (damaged.length === record.damaged.length) return
    const detail = `chunk ${id} counts a copy as damaged on a chunkserver where it is not`
    const value = tables.chunks.encode({ ...record, damaged })
    await this.#context.findings.add('index', detail, {
      changes: () => [{ key: keys.chunk(id), value }],
    })
  }

  async #checkServer(id: number, server: number): Promise<void> {
    const lists = this.#lists.get(server)
    const { findings } = this.#context
    if (lists === undefined || !(await this.#passTo(lists.has, server, id))) {
      await findings.add('index', `the list of chunkserver ${server} lacks chunk ${id}`, {
        always: true,
        changes: () => [{ key: keys.serverChunk(server, id), value: tables.marks.encode(true) }],
      })
    }
    if (lists !== undefined && (await this.#passDeletes(lists.deletes, server, id))) {
      const detail = `chunkserver ${server} is told to delete chunk ${id}, which is in use there`
      await findings.add('index', detail, {
        always: true,
        changes: () => [{ key: keys.delete(server, id), value: undefined }],
      })
    }
  }

  /** Goes on in a server's list to a chunk and past it; whether it is there. */
  async #passTo(has: Cursor<true>, server: number, id: number): Promise<boolean> {
    for (let chunk = chunkAt(has); chunk <= id; chunk = chunkAt(has)) {
      await has.advance()
      if (chunk === id) return true
      if (!this.#damaged.has(chunk) && this.#damaged.size < DAMAGED_MAX) {
        await this.#context.findings.add(
          'index',
          `the list of chunkserver ${server} has chunk ${chunk}, which is not there`,
          { changes: () => [{ key: keys.serverChunk(server, chunk), value: undefined }] },
        )
      }
    }
    return false
  }

  /** As {@link #passTo} for orders, which are counted. */
  async #passDeletes(deletes: Cursor<true>, server: number, id: number): Promise<boolean> {
    const { counters, highest } = this.#context
    for (let chunk = chunkAt(deletes); chunk <= id; chunk = chunkAt(deletes)) {
      if (chunk === Infinity) return false
      await deletes.advance()
      counters.add(counterNames.deletes(server))
      highest.see('chunks', chunk)
      if (chunk === id) return true
    }
    return false
  }

  /** The rest of all lists. */
  async finish(): Promise<void> {
    await this.#queue.finish()
    for (const [server, { has, deletes }] of this.#lists) {
      await this.#passTo(has, server, Number.MAX_SAFE_INTEGER)
      await this.#passDeletes(deletes, server, Number.MAX_SAFE_INTEGER)
    }
  }
}

/** Infinity at the end of the list. */
const chunkAt = (list: Cursor<true>): number =>
  list.current === undefined ? Infinity : parts.serversChunk(list.current.key)

function deleted(id: number, { servers, repair }: PlacedChunkRecord): Change[] {
  const changes: Change[] = [{ key: keys.chunk(id), value: undefined }]
  if (repair > 0) changes.push({ key: keys.repair(repair - 1, id), value: undefined })
  for (const server of servers) {
    changes.push(
      { key: keys.serverChunk(server, id), value: undefined },
      { key: keys.delete(server, id), value: tables.deletes.encode(true) },
    )
  }
  return changes
}
