/**
 * What an operation on the tree is: one file each, with its semantics in the header. It sees its
 * request, its caller and a transaction; it may run twice, and it answers with the response.
 */
import type { Operation as OperationId } from '../../../schema/generated/common.ts'
import type { Method } from '../../../schema/rpc/api.ts'
import type { Caller, Services } from '../services.ts'
import type { RecordName, Transaction } from '../store/transaction.ts'

/** Changes nothing in the store. */
export interface Query<Q, R> {
  readonly method: Method<Q, R>
  /** Refuses what no state could make right. */
  check?(request: Q): void
  run(txn: Transaction, request: Q, caller: Caller, services: Services): R | Promise<R>
  /** How many times the work of a small read; 1 without it. */
  cost?(request: Q): number
}

/** Changes the store, once for each operation id. */
export interface Mutation<Q extends { operation: OperationId }, R> extends Query<Q, R> {
  /** The inodes that it changes, as far as the request tells; see WriteOptions. */
  queues(request: Q, caller: Caller): readonly number[]
  /** The records that it reads first. */
  warm(request: Q): readonly RecordName[]
  /** Reads what those lead to, so that nobody waits behind us for it; see WriteOptions. */
  warmUp?(txn: Transaction, request: Q): Promise<void>
  /** The inodes that a repeated request must find held again, from its logged answer. */
  held?(request: Q, response: R): readonly number[]
}
