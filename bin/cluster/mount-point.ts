/**
 * Mount points as the kernel sees them, without touching the file system mounted there: a path
 * below a dead FUSE mount would answer with an error, a path below a hung one not at all.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** How long an unmount helper may take. */
const UNMOUNT_MS = 15_000

/** Whether a dfs mount is on the path, alive or dead. */
export function isMounted(path: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .some((line) => {
      const [, where, type] = line.split(' ')
      return where !== undefined && unescape(where) === path && type?.startsWith('fuse') === true
    })
}

/** Takes the mount away even when its process is dead or busy. Returns whether nothing is left. */
export function forceUnmount(path: string): boolean {
  for (const command of ['fusermount3', 'fusermount']) {
    const { status } = spawnSync(command, ['-u', '-z', path], {
      timeout: UNMOUNT_MS,
      stdio: 'ignore',
    })
    if (status === 0) break
  }
  return !isMounted(path)
}

/** The kernel writes space, tab, newline and backslash in mount points as octal. */
function unescape(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}
