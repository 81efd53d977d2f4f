/**
 * Reference counts of chunks: how many windows name one. With the last reference the chunk's record
 * goes, and an order to delete it waits for each of its servers.
 */
import { DfsError } from '../../schema/wire/status.ts'
import { counterNames } from './store/counters.ts'
import { keys } from './store/keys.ts'
import { tables } from './store/tables.ts'
import type { Transaction } from './store/transaction.ts'

/**
 * Takes away one reference for each time that a chunk is listed. Throws `recordCorrupt` when a chunk
 * has no record, which a consistent store rules out.
 */
export async function releaseChunks(txn: Transaction, chunks: readonly number[]): Promise<void> {
  const counts = new Map<number, number>()
  for (const chunk of chunks) counts.set(chunk, (counts.get(chunk) ?? 0) + 1)
  const ids = [...counts.keys()]
  const records = await txn.getAll(
    tables.chunks,
    ids.map((id) => keys.chunk(id)),
  )
  for (const [i, chunk] of ids.entries()) {
    const record = records[i]
    const windows = (record?.windows ?? 0) - (counts.get(chunk) ?? 0)
    if (record === undefined || windows < 0) {
      throw new DfsError('recordCorrupt', `chunk ${chunk} is named more often than its record says`)
    }
    if (windows > 0) {
      txn.put(tables.chunks, keys.chunk(chunk), { ...record, windows })
      continue
    }
    txn.delete(tables.chunks, keys.chunk(chunk))
    txn.add(counterNames.chunks, -1)
    requeue(txn, chunk, record.repair, 0)
    for (const server of record.servers) {
      txn.delete(tables.marks, keys.serverChunk(server, chunk))
      orderDelete(txn, server, chunk)
    }
  }
}

/** Moves a chunk in the queue for repair, from and to what its record says of it; 0 is not queued. */
export function requeue(txn: Transaction, chunk: number, from: number, to: number): void {
  if (from === to) return
  if (from > 0) {
    txn.delete(tables.marks, keys.repair(from - 1, chunk))
    txn.add(counterNames.repairs(from - 1), -1)
  }
  if (to > 0) {
    txn.put(tables.marks, keys.repair(to - 1, chunk), true)
    txn.add(counterNames.repairs(to - 1), 1)
  }
}

/** Queues the order to delete a chunk from a server. */
export function orderDelete(txn: Transaction, server: number, chunk: number): void {
  txn.put(tables.deletes, keys.delete(server, chunk), true)
  txn.add(counterNames.deletes(server), 1)
}
