/**
 * backup: streams all records of the store, as of one moment, while everything else goes on. For the
 * operator. One at a time: the engine keeps what a walk may still see for as long as it is open.
 */
import type { BackupResponse } from '../../../schema/generated/metadata.ts'
import type { ServerCall } from '../../../schema/rpc/api.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { recordFrames } from '../backup/frames.ts'
import type { Services } from '../services.ts'
import type { Database } from '../store/database.ts'

const running = new WeakSet<Database>()

/** Answers and streams. Throws `tooManyRequests` while another backup runs. */
export async function backup(
  call: ServerCall & { respond(response: BackupResponse): void },
  { database, clock, log }: Services,
): Promise<void> {
  if (running.has(database)) {
    throw new DfsError('tooManyRequests', 'a backup is being taken already; wait for its end')
  }
  running.add(database)
  const startedMs = clock.nowMs()
  // What is answered by now is in it.
  try {
    await database.settle()
    const frames = recordFrames(database.durable)
    call.respond({ started: clock.nowNs() })
    for (;;) {
      const next = await frames.next()
      if (next.done === true) {
        const seconds = (clock.nowMs() - startedMs) / 1_000
        log.info({ ...next.value, seconds }, 'a backup was taken')
        return
      }
      try {
        await call.write(next.value)
      } catch (error) {
        await frames.return({ records: 0, damaged: 0 })
        throw error
      }
    }
  } finally {
    running.delete(database)
  }
}
