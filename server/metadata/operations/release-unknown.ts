/**
 * releaseUnknown: lets go of the chunks that are kept since a restore although no file names them. For
 * the operator, once no newer backup is going to be restored. They are deleted as any chunk is that was
 * written and never committed.
 */
import type { ReleaseUnknownResponse } from '../../../schema/generated/metadata.ts'
import type { Services } from '../services.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'

export async function releaseUnknown({
  database,
  planAges,
  log,
}: Services): Promise<ReleaseUnknownResponse> {
  await database.write({}, async (txn) => {
    const restored = await txn.get(tables.restored, keys.restored)
    if (restored === undefined) return
    txn.put(tables.restored, keys.restored, { ...restored, keepBelow: 0 })
  })
  const released = planAges.letGo()
  if (released) log.warn({}, 'chunks of before the restore that no file names are kept no longer')
  return { released }
}
