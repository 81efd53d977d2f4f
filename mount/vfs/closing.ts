/**
 * The end of a file system: everything that is open is saved, as long as that gets anywhere.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../schema/rpc/api.ts'
import type { NameJournal } from './name-journal.ts'
import type { OpenFiles } from './open-files.ts'

/** How long closing waits for open files to be saved, in all and while nothing gets saved. */
const CLOSE_MS = 120_000
const CLOSE_STALLED_MS = 6_000
const CLOSE_CHECK_MS = 250

/** Saves what is open; logs what could not be. */
export async function saveAll(files: OpenFiles): Promise<void> {
  const ended = new AbortController()
  const saving = files.saveOlderThan(0).finally(() => ended.abort())
  const endMs = Date.now() + CLOSE_MS
  let least = Infinity
  let stalledSinceMs = Date.now()
  const hopeless = (): boolean => {
    const nowMs = Date.now()
    const { unsavedBytes } = files
    if (unsavedBytes < least) {
      least = unsavedBytes
      stalledSinceMs = nowMs
    }
    return nowMs > endMs || nowMs - stalledSinceMs > CLOSE_STALLED_MS
  }
  while (!ended.signal.aborted && !hopeless()) {
    await Promise.race([saving, sleep(CLOSE_CHECK_MS)])
  }
  files.logUnsaved()
}

/** Waits for changes of names to reach the server; logs how many may not have. */
export async function settleNames(journal: NameJournal, log: Log): Promise<void> {
  const timeout = new AbortController()
  const late = sleep(CLOSE_STALLED_MS, undefined, { signal: timeout.signal }).catch(() => undefined)
  await Promise.race([journal.settle(), late])
  timeout.abort()
  if (journal.idle) return
  const changes = journal.length
  log.error({ changes }, 'closing with changes of names that the server has not confirmed')
}
