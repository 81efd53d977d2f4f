/**
 * A user's bytes, kept exactly and against the quota.
 */
import { DfsError } from '../../../schema/wire/status.ts'
import type { Caller } from '../services.ts'
import { counterNames } from '../store/counters.ts'
import type { Transaction } from '../store/transaction.ts'

/** Adds to the caller's bytes; growth beyond the quota is refused with `quotaExceeded`. */
export function addUserBytes(txn: Transaction, caller: Caller, delta: number): void {
  if (delta === 0) return
  const { quotaBytes, user } = caller
  const limit =
    delta < 0 || quotaBytes === Infinity
      ? undefined
      : {
          max: quotaBytes,
          refuse(): never {
            throw new DfsError(
              'quotaExceeded',
              `${delta} bytes more would exceed the quota of ${quotaBytes}; delete something`,
            )
          },
        }
  txn.add(counterNames.userBytes(user), delta, limit)
}
