/**
 * Ids of users, devices and chunkservers: 1, 2, 3, … without gaps, given out inside the transaction
 * that uses them.
 */
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'

export async function nextSmallId(
  txn: Transaction,
  sequence: 'users' | 'devices' | 'servers' | 'standbys',
): Promise<number> {
  const key = keys.sequence(sequence)
  const id = (await txn.get(tables.numbers, key))?.value ?? 1
  txn.put(tables.numbers, key, { value: id + 1 })
  return id
}
