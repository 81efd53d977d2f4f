/**
 * What a backup says of replicas was so at its moment. Since then they may have been made elsewhere and
 * given up where they were, so a restored store takes nothing of it for granted: every chunkserver is
 * asked again what it has before a replica beyond the wanted number is given up, and no order to delete
 * one copy of a chunk that has a record is carried out: it may be the only one by now.
 *
 * The queue for repair, its counters and the records of chunks are of one moment, and stay as they are.
 */
import type { Change, OrderedStore } from '../../store/ordered-store.ts'
import { counterNames } from '../store/counters.ts'
import { keys, parts, type KeyRange } from '../store/keys.ts'
import { layout, rangeOf } from '../store/layout.ts'
import { keysOf, readPage, type Page } from '../store/page.ts'
import { tables } from '../store/tables.ts'

const PAGE = 1_000
const NO_STORE = new Uint8Array(0)

/** Changes a store that nobody else has open; unsynced: whoever restores ends with a synced batch. */
export async function distrustReplicas(store: OrderedStore): Promise<void> {
  for await (const { entries } of pages(store, rangeOf(layout.servers))) {
    const changes = entries.map(({ key, value }) => {
      const record = { ...tables.servers.decode(value), store: NO_STORE }
      return { key, value: tables.servers.encode(record) }
    })
    await store.write(changes, { sync: false })
  }
  const dropped = new Map<number, number>()
  for await (const page of pages(store, rangeOf(layout.deletes))) {
    const orders = keysOf(page)
    const placed = await arePlaced(store, orders)
    const changes: Change[] = []
    for (const [i, key] of orders.entries()) {
      if (placed[i] !== true) continue
      changes.push({ key, value: undefined })
      const server = key.readUInt32BE(1)
      dropped.set(server, (dropped.get(server) ?? 0) + 1)
    }
    await store.write(changes, { sync: false })
  }
  for (const [server, count] of dropped) {
    const key = keys.counter(counterNames.deletes(server))
    const stored = await store.get(key)
    const before = stored === undefined ? 0 : tables.numbers.decode(stored).value
    const value = tables.numbers.encode({ value: Math.max(0, before - count) })
    await store.write([{ key, value }], { sync: false })
  }
}

/** Whether the chunks of orders have records; a damaged one counts. */
async function arePlaced(store: OrderedStore, orders: readonly Buffer[]): Promise<boolean[]> {
  const damaged = new Set<number>()
  const records = await store.getMany(
    orders.map((key) => keys.chunk(parts.serversChunk(key))),
    (i) => damaged.add(i),
  )
  return orders.map((_, i) => damaged.has(i) || records[i] !== undefined)
}

async function* pages(store: OrderedStore, range: KeyRange): AsyncGenerator<Page> {
  let after: Buffer | undefined
  for (;;) {
    const page = await readPage(store, range, PAGE, after)
    after = page.last
    if (after === undefined) return
    yield page
    if (!page.more) return
  }
}
