/** `dfs ls`: names, or with -l what stat tells, or all of it as JSON. */
import type { CommandModule } from 'yargs'
import { encodeName } from '../../mount/crypto/name-bytes.ts'
import type { DirectoryEntry, FileSystem } from '../../mount/vfs/api.ts'
import { formatSize } from '../runtime/size.ts'
import { jsonOption, profileOption, storePath, withFileSystem } from './options.ts'
import { isDirectory, kindLetter } from './file-kind.ts'

/** What could steer a terminal, or is no text. */
const UNPRINTABLE = /[\p{Control}\p{Surrogate}]/gu

interface LsArguments {
  profile: string | undefined
  paths: string[] | undefined
  long: boolean
  json: boolean
}

export const lsCommand: CommandModule<object, LsArguments> = {
  command: 'ls [paths..]',
  describe: 'List files and folders of the store',
  builder: (parser) =>
    parser
      .positional('paths', { type: 'string', array: true, describe: 'Paths [default: /]' })
      .options({
        ...profileOption,
        ...jsonOption,
        long: { alias: 'l', type: 'boolean', default: false, describe: 'Sizes, modes and times' },
      })
      .example('$0 ls -l /photos', ''),
  handler: async ({ profile, paths, long, json }) => {
    const wanted = paths === undefined || paths.length === 0 ? ['/'] : paths
    // As with console.log: when the reader has gone (`dfs ls | head`) there is nothing to tell.
    process.stdout.on('error', () => undefined)
    await withFileSystem(profile, async (fs) => {
      for (const path of wanted.map(storePath)) {
        if (wanted.length > 1 && !json) printLine(`${path}:`)
        for (const entry of await entries(fs, path)) {
          printLine(json ? jsonLine(path, entry) : long ? longLine(entry) : entry.name)
        }
      }
    })
  },
}

/** To a program names go as the bytes that they are, to a person only what can be shown. */
function printLine(line: string): void {
  const { stdout } = process
  stdout.write(stdout.isTTY ? `${line.replaceAll(UNPRINTABLE, '?')}\n` : encodeName(`${line}\n`))
}

async function entries(fs: FileSystem, path: string): Promise<DirectoryEntry[]> {
  const stat = await fs.stat(path)
  if (!isDirectory(stat)) return [{ name: path.slice(path.lastIndexOf('/') + 1), stat }]
  const list = await fs.list(path)
  return list.sort((a, b) => (a.name < b.name ? -1 : 1))
}

function longLine({ name, stat }: DirectoryEntry): string {
  const mode = kindLetter(stat) + permissions(stat.mode)
  const time = new Date(Number(stat.mtime / 1_000_000n))
    .toISOString()
    .slice(0, 19)
    .replace('T', ' ')
  const size = formatSize(stat.size).padStart(9)
  return `${mode} ${String(stat.nlink).padStart(3)} ${stat.uid} ${stat.gid} ${size} ${time} ${name}`
}

function permissions(mode: number): string {
  const letters = [...'rwxrwxrwx'].map((letter, i) => ((mode >> (8 - i)) & 1 ? letter : '-'))
  const special = (bit: number, at: number, set: string): void => {
    if (mode & bit) letters[at] = letters[at] === 'x' ? set : set.toUpperCase()
  }
  special(0o4000, 2, 's')
  special(0o2000, 5, 's')
  special(0o1000, 8, 't')
  return letters.join('')
}

/** Bytes that are no text stand as `\udc80` to `\udcff`, as Python's `os.fsdecode` has them. */
function jsonLine(directory: string, { name, stat }: DirectoryEntry): string {
  const times = { atime: stat.atime, mtime: stat.mtime, ctime: stat.ctime }
  const iso = Object.entries(times).map(([key, ns]) => [
    key,
    new Date(Number(ns / 1_000_000n)).toISOString(),
  ])
  return JSON.stringify({ directory, name, ...stat, ...Object.fromEntries(iso) })
}
