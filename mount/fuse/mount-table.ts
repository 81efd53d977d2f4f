/**
 * What is mounted where, as the kernel tells this process in /proc/self/mountinfo.
 */
import { readFile } from 'node:fs/promises'

export interface MountEntry {
  readonly directory: string
  /** File system type, e.g. `ext4` or `fuse.dfs`. */
  readonly type: string
}

/** Reads the mounts of this process's namespace; never asks a file system that may hang. */
export async function readMountTable(): Promise<MountEntry[]> {
  return parseMountTable(await readFile('/proc/self/mountinfo', 'utf8'))
}

/** Parses the lines of proc_pid_mountinfo(5). */
export function parseMountTable(text: string): MountEntry[] {
  const entries: MountEntry[] = []
  for (const line of text.split('\n')) {
    const fields = line.split(' ')
    const directory = fields[4]
    // Optional fields stand between the sixth and a lone hyphen.
    const type = fields[fields.indexOf('-', 6) + 1]
    if (directory === undefined || type === undefined || !fields.includes('-', 6)) continue
    entries.push({ directory: unescape(directory), type })
  }
  return entries
}

/** The kernel writes blanks, tabs, newlines and backslashes as three octal digits. */
function unescape(text: string): string {
  if (!text.includes('\\')) return text
  const bytes = Buffer.from(text).toString('latin1')
  const plain = bytes.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
  return Buffer.from(plain, 'latin1').toString('utf8')
}
