/**
 * Copies a metadata server's store while it goes on changing: page by page, then all that was logged
 * meanwhile over it. Log records hold whole values, so wherever a page was ahead of another, the
 * records bring both to one moment; before the last of them is in, the copy is nobody's store. It is
 * of one server in one run of it: when the connection is lost it begins anew.
 */
import { rm } from 'node:fs/promises'
import type { FollowResponse } from '../../../schema/generated/replication.ts'
import { methods } from '../../../schema/methods.ts'
import type { Peer } from '../../../schema/quic/api.ts'
import type { Connection } from '../../../schema/rpc/api.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { openRocksStore } from '../../store/rocks-store.ts'
import type { OrderedStore } from '../../store/ordered-store.ts'
import { CommitLog } from './commit-log.ts'
import { historyChange, Role } from './history.ts'
import { decodeChanges, unframed } from './log-record.ts'

/**
 * Copies into a new store in `directory`, which is complete, synced and closed when this resolves.
 * Throws what ended it; the directory is then to be removed.
 */
export async function copyStore(
  directory: string,
  peer: Peer,
  { epoch, number, mark }: Pick<FollowResponse, 'epoch' | 'number' | 'mark'>,
): Promise<{ number: number; records: number }> {
  await rm(directory, { recursive: true, force: true })
  const store = await openRocksStore(directory)
  try {
    const { connection } = peer
    if (connection === undefined) throw new DfsError('connectionLost', 'no connection to copy over')
    const { end, records } = await copyPages(store, connection)
    const history = { role: Role.standby, epoch, number, mark }
    await store.write([historyChange(history)], { sync: false })
    const log = await CommitLog.load(store)
    await copyLog(store, log, connection, end, epoch)
    await store.write([historyChange(log.history)], { sync: true })
    return { number: log.history.number, records }
  } finally {
    await store.close()
  }
}

/** Returns the number of the last batch of which a page may show something. */
async function copyPages(
  store: OrderedStore,
  connection: Connection,
): Promise<{ end: number; records: number }> {
  let after: Uint8Array = new Uint8Array(0)
  let records = 0
  for (;;) {
    const { changes, last, number } = await connection.call(methods.copyPage, { after })
    const page = decodeChanges(Buffer.from(changes))
    if (page.length > 0) await store.write(page, { sync: false })
    records += page.length
    if (last.length === 0) return { end: number, records }
    after = last
  }
}

async function copyLog(
  store: OrderedStore,
  log: CommitLog,
  connection: Connection,
  end: number,
  epoch: number,
): Promise<void> {
  while (log.history.number < end) {
    const { number: after, mark } = log.history
    const answer = await connection.call(methods.copyLog, { after, mark })
    const records = unframed(Buffer.from(answer.records))
    if (records.length === 0 && answer.number > after) {
      throw new DfsError('notFound', 'the log does not reach back to the copy; copying again')
    }
    if (records.length > 0) await store.write(log.replicate(records, epoch), { sync: false })
    log.wrote(log.history.number)
  }
}
