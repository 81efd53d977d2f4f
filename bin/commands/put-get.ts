/** The command lines of `dfs put` and `dfs get`. */
import { stat } from 'node:fs/promises'
import { join, posix, resolve } from 'node:path'
import type { CommandModule } from 'yargs'
import type { FileSystem } from '../../mount/vfs/api.ts'
import { encodeName } from '../../mount/crypto/name-bytes.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { createProgress } from '../runtime/progress.ts'
import { destinations, getItem, localItems, putItem, storeItems, type CopyItem } from './copy.ts'
import { isDirectory } from './file-kind.ts'
import { profileOption, storePath, withFileSystem } from './options.ts'

interface CopyArguments {
  profile: string | undefined
  paths: string[]
  recursive: boolean
}

const pathsPositional = {
  type: 'string',
  array: true,
  demandOption: true,
  describe: 'What to copy, and last where to',
} as const

const recursiveOption = {
  recursive: { alias: 'r', type: 'boolean', default: false, describe: 'Folders with all in them' },
} as const

export const putCommand: CommandModule<object, CopyArguments> = {
  command: 'put <paths..>',
  describe: 'Copy files from this machine into the store',
  builder: (parser) =>
    parser
      .positional('paths', pathsPositional)
      .options({ ...profileOption, ...recursiveOption })
      .example('$0 put a.jpg b.jpg /photos', 'into a folder')
      .example('$0 put -r ~/mail /mail', 'a whole tree'),
  handler: async ({ profile, paths, recursive }) => {
    const { sources, target } = split(paths)
    await withFileSystem(profile, async (fs) => {
      const to = storePath(target)
      const targets = destinations(sources, to, await isStoreDirectory(fs, to), posix)
      const items: CopyItem[] = []
      for (const [i, source] of sources.entries()) {
        items.push(...(await localItems(resolve(source), targets[i] ?? to, recursive)))
      }
      await copyAll('put', items, async (item, progress) => putItem(fs, item, progress))
    })
  },
}

export const getCommand: CommandModule<object, CopyArguments> = {
  command: 'get <paths..>',
  describe: 'Copy files from the store to this machine',
  builder: (parser) =>
    parser
      .positional('paths', pathsPositional)
      .options({ ...profileOption, ...recursiveOption })
      .example('$0 get /photos/a.jpg .', '')
      .example('$0 get -r /mail ~/mail', 'a whole tree'),
  handler: async ({ profile, paths, recursive }) => {
    const { sources, target } = split(paths)
    await withFileSystem(profile, async (fs) => {
      const to = resolve(target)
      const targets = destinations(sources, to, await isLocalDirectory(to), { join })
      const items: CopyItem[] = []
      for (const [i, source] of sources.entries()) {
        const from = storePath(source)
        items.push(...(await storeItems(fs, from, targets[i] ?? to, recursive)))
      }
      await copyAll('get', items, async (item, progress) => getItem(fs, item, progress))
    })
  },
}

/** The target is the last: a command line of yargs can have many of one kind only at its end. */
function split(paths: readonly string[]): { sources: readonly string[]; target: string } {
  const target = paths.at(-1)
  if (target === undefined || paths.length < 2) {
    throw new DfsError('invalidArgument', 'say what to copy, and then where to')
  }
  return { sources: paths.slice(0, -1), target }
}

async function copyAll(
  verb: string,
  items: readonly CopyItem[],
  copy: (item: CopyItem, progress: ReturnType<typeof createProgress>) => Promise<void>,
): Promise<void> {
  const progress = createProgress(
    verb,
    items.reduce((sum, item) => sum + item.bytes, 0),
  )
  try {
    for (const item of items) await copy(item, progress)
  } catch (error) {
    progress.stop()
    throw error
  }
  progress.done()
}

async function isStoreDirectory(fs: FileSystem, path: string): Promise<boolean> {
  try {
    return isDirectory(await fs.stat(path))
  } catch (error) {
    if (error instanceof DfsError && error.code === 'notFound') return false
    throw error
  }
}

async function isLocalDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(encodeName(path))).isDirectory()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
