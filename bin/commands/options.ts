/**
 * What the commands on the store share: the profile option, and a file system that is closed again.
 */
import { homedir } from 'node:os'
import { join, posix } from 'node:path'
import { openClient } from '../../mount/client/open.ts'
import { profileKeeper } from '../../mount/client/profile-keeper.ts'
import { readProfile } from '../../mount/client/profile.ts'
import type { FileSystem } from '../../mount/vfs/api.ts'
import { openFileSystem } from '../../mount/vfs/file-system.ts'
import { createLog } from '../runtime/log.ts'

/** $DFS_PROFILE, else dfs below the user's configuration folder. */
export function defaultProfile(): string {
  const { DFS_PROFILE: profile, XDG_CONFIG_HOME: config } = process.env
  if (profile !== undefined && profile !== '') return profile
  return join(config !== undefined && config !== '' ? config : join(homedir(), '.config'), 'dfs')
}

export const profileOption = {
  profile: {
    type: 'string',
    describe: 'Client profile folder [default: $DFS_PROFILE, else ~/.config/dfs]',
    requiresArg: true,
  },
} as const

export const jsonOption = {
  json: { type: 'boolean', default: false, describe: 'Print JSON, for scripts' },
} as const

export const forceOption = {
  force: { type: 'boolean', default: false, describe: 'Also where it would lock you out' },
} as const

/** The log of a one-shot command: only what a person must see. */
export const commandLog = (): ReturnType<typeof createLog> => createLog('dfs', { level: 'error' })

/** Opens the store of a profile, runs `body`, and closes it whatever happened. */
export async function withFileSystem<T>(
  profileDir: string | undefined,
  body: (fs: FileSystem) => Promise<T>,
): Promise<T> {
  const stateDir = profileDir ?? defaultProfile()
  const profile = await readProfile(stateDir)
  const log = commandLog()
  const onServers = profileKeeper(stateDir, profile, log)
  const client = await openClient({ profile, log, onServers })
  try {
    const fs = await openFileSystem({ client, log, stateDir })
    try {
      const result = await body(fs)
      // Names may be held back for a moment: what the command says is done must be.
      await fs.fsyncDirectory()
      return result
    } finally {
      await fs.close()
    }
  } finally {
    await client.close()
  }
}

/** A path in the store as a user types it: with or without the leading slash. */
export function storePath(path: string): string {
  const normal = posix.normalize(`/${path}`)
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal
}
