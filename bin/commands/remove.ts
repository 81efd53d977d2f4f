/** `dfs rm` and `dfs mkdir`. */
import { posix } from 'node:path'
import type { CommandModule } from 'yargs'
import type { FileSystem } from '../../mount/vfs/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { isDirectory } from './file-kind.ts'
import { profileOption, storePath, withFileSystem } from './options.ts'

interface RmArguments {
  profile: string | undefined
  paths: string[]
  recursive: boolean
  force: boolean
}

export const rmCommand: CommandModule<object, RmArguments> = {
  command: 'rm <paths..>',
  describe: 'Remove files, or with -r folders with all in them',
  builder: (parser) =>
    parser
      .positional('paths', { type: 'string', array: true, demandOption: true })
      .options({
        ...profileOption,
        recursive: { alias: 'r', type: 'boolean', default: false, describe: 'Folders too' },
        force: { alias: 'f', type: 'boolean', default: false, describe: 'What is missing is fine' },
      })
      .example('$0 rm -r /old', ''),
  handler: async ({ profile, paths, recursive, force }) =>
    withFileSystem(profile, async (fs) => {
      for (const path of paths.map(storePath)) {
        try {
          await remove(fs, path, recursive)
        } catch (error) {
          if (force && error instanceof DfsError && error.code === 'notFound') continue
          throw error
        }
      }
    }),
}

async function remove(fs: FileSystem, path: string, recursive: boolean): Promise<void> {
  if (!isDirectory(await fs.stat(path))) return fs.unlink(path)
  if (!recursive) throw new DfsError('isDirectory', `${path} is a folder; use --recursive`)
  if (path === '/') throw new DfsError('notPermitted', 'the root folder itself stays')
  for (const entry of await fs.list(path)) {
    const below = posix.join(path, entry.name)
    if (isDirectory(entry.stat)) await remove(fs, below, true)
    else await fs.unlink(below)
  }
  return fs.rmdir(path)
}

interface MkdirArguments {
  profile: string | undefined
  paths: string[]
  parents: boolean
}

export const mkdirCommand: CommandModule<object, MkdirArguments> = {
  command: 'mkdir <paths..>',
  describe: 'Make folders',
  builder: (parser) =>
    parser.positional('paths', { type: 'string', array: true, demandOption: true }).options({
      ...profileOption,
      parents: { alias: 'p', type: 'boolean', default: false, describe: 'And those above' },
    }),
  handler: async ({ profile, paths, parents }) =>
    withFileSystem(profile, async (fs) => {
      for (const path of paths.map(storePath)) {
        if (!parents) await make(fs, path)
        else for (const above of ancestry(path)) await make(fs, above, true)
      }
    }),
}

/** /a/b/c gives /a, /a/b, /a/b/c. */
function ancestry(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '')
  return names.map((_, i) => `/${names.slice(0, i + 1).join('/')}`)
}

async function make(fs: FileSystem, path: string, mayExist = false): Promise<void> {
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  try {
    await fs.mkdir(path, 0o755, owner)
  } catch (error) {
    const there = mayExist && error instanceof DfsError && error.code === 'exists'
    if (!there || !isDirectory(await fs.stat(path))) throw error
  }
}
