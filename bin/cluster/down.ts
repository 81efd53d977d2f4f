/**
 * `dfs down`: unmounts and stops every process of a local cluster, and proves it.
 */
import { DfsError } from '../../schema/wire/status.ts'
import { Daemon } from './daemon.ts'
import { forceUnmount, isMounted } from './mount-point.ts'
import { chunkserverName, clusterPaths, readState } from './state.ts'

/** What the mount may take to write out what applications left in it. */
const MOUNT_STOP_MS = 60_000
const DAEMON_STOP_MS = 15_000

/**
 * Stops the cluster in `dir`; harmless when nothing runs. Throws when something is left, and says
 * so when a daemon had to be killed.
 */
export async function down(dir: string, say: (text: string) => void): Promise<void> {
  const state = readState(dir)
  if (state === undefined) throw new DfsError('notFound', `there is no cluster in ${dir}`)
  const paths = clusterPaths(dir)
  const stop = async (daemon: Daemon, graceMs: number): Promise<void> => {
    if (daemon.pid === undefined) return
    if (!(await daemon.stop(graceMs))) {
      say(
        `${daemon.name} did not end in ${graceMs / 1_000} s and was killed; see ${daemon.logFile}`,
      )
    }
  }
  if (isMounted(state.mount)) say(`unmounting ${state.mount}`)
  await stop(new Daemon(paths, 'mount'), MOUNT_STOP_MS)
  if (isMounted(state.mount) && !forceUnmount(state.mount)) {
    throw new DfsError('internal', `${state.mount} cannot be unmounted: fusermount3 -u -z it`)
  }
  say('stopping the servers')
  const servers = Array.from({ length: state.chunkservers }, (_, i) => chunkserverName(i + 1))
  await Promise.all(servers.map(async (name) => stop(new Daemon(paths, name), DAEMON_STOP_MS)))
  await stop(new Daemon(paths, 'metadata'), DAEMON_STOP_MS)
}
