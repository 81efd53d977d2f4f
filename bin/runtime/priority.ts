/**
 * The priority of a daemon that everybody waits for.
 *
 * On a machine whose processors are all busy, the one thread that answers else waits several milliseconds for
 * its turn, each time. Linux keeps a priority for each thread: the helpers of V8 and of the store, which the
 * main thread waits for, come before other processes, and the main thread before them.
 */
import { readdirSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import type { Log } from '../../schema/rpc/api.ts'

/** Nice values, -20 (first) to 19. */
const MAIN = -20
const HELPERS = -10

/**
 * Raises the priority of this process's threads, as far as it may; to be called when all of them run, since
 * a thread begins with the priority of the one that started it. What was set higher is left as it is.
 */
export function comeFirst(log: Log): void {
  for (const name of readdirSync('/proc/self/task')) {
    const thread = Number(name)
    const wanted = thread === process.pid ? MAIN : HELPERS
    try {
      if (getPriority(thread) > wanted) setPriority(thread, wanted)
    } catch (error) {
      const { info } = error as { info?: { code?: string } }
      if (info?.code === 'ESRCH') continue // ended meanwhile
      log.info(
        { err: (error as Error).message },
        'runs at ordinary priority, and answers later on a busy machine: run it as root, or with LimitNICE=-20 in its systemd unit',
      )
      return
    }
  }
}
