/**
 * The mount itself: logs in, mounts, serves until somebody unmounts or a signal comes, then makes
 * everything durable and ends.
 */
import { openClient } from '../../mount/client/open.ts'
import { profileKeeper } from '../../mount/client/profile-keeper.ts'
import { readProfile } from '../../mount/client/profile.ts'
import { prepareMountPoint } from '../../mount/fuse/mount-point.ts'
import { mount } from '../../mount/fuse/mount.ts'
import type { Mount } from '../../mount/fuse/mount.ts'
import { openFileSystem } from '../../mount/vfs/file-system.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { ExitCode } from '../runtime/exit.ts'
import { createLog } from '../runtime/log.ts'
import type { MountSettings } from './options.ts'

/** Longest end after a signal or an unmount, ms; what is not durable by then is lost. */
const endMs = 120_000
/** Longest from a signal to the end of the process, ms, also when the unmount itself never returns. */
const stopMs = 180_000

/** What the process in the background tells the one that started it. */
export const readyMessage = 'mounted'

/** Mounts and serves; returns after the unmount. Throws why it cannot mount, or what got lost. */
export async function mountInForeground(settings: MountSettings): Promise<void> {
  const { directory, logLevel, logFile } = settings
  const log = createLog('dfs-mount', {
    level: logLevel,
    ...(logFile === undefined ? {} : { file: logFile }),
  })
  // A bad mount point is told before anybody is asked over the network.
  await prepareMountPoint(directory, log)
  const profile = await readProfile(settings.profile)
  const { cacheBytes, writeBufferBytes, readOnly, allowOther } = settings
  const onServers = profileKeeper(settings.profile, profile, log)
  const client = await openClient({ profile, log, writeBufferBytes, onServers })
  try {
    const fs = await openFileSystem({
      client,
      log,
      cacheBytes,
      readOnly,
      stateDir: settings.profile,
    })
    try {
      const live = await mount(fs, { directory, log, allowOther, readOnly })
      await serve(live, log)
    } finally {
      limitEnd(log, endMs)
      await fs.close()
    }
  } finally {
    await client.close()
  }
  log.info({ directory }, 'unmounted; everything is durable')
}

async function serve(live: Mount, log: Log): Promise<void> {
  const stop = (reason: string): void => {
    log.info({ directory: live.directory, reason }, 'unmounting')
    limitEnd(log, stopMs)
    live.unmount().then(
      (outcome) => log.info({ directory: live.directory, outcome }, 'unmounted'),
      (error: unknown) => log.error({ directory: live.directory, err: error }, 'cannot unmount'),
    )
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => stop(signal))
  }
  const bug = (error: unknown): void => {
    log.error({ err: error }, 'a bug in dfs; unmounting to save what can be saved')
    process.exitCode = ExitCode.bug
    stop('bug')
  }
  process.on('uncaughtException', bug)
  process.on('unhandledRejection', bug)
  log.info({ directory: live.directory }, 'mounted')
  console.log(`mounted on ${live.directory}`)
  if (process.send !== undefined) {
    process.send(readyMessage)
    process.disconnect()
  }
  await live.ended
}

/** A store that does not let us go is left after a while. */
function limitEnd(log: Log, limitMs: number): void {
  const limit = setTimeout(() => {
    log.error({ limitMs }, 'the store does not answer: ending with data that is not durable')
    process.exit(ExitCode.unavailable)
  }, limitMs)
  limit.unref()
}
