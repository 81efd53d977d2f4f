/**
 * Writes files into a folder for ever, and a line `NAME SHA-256` into a journal after each that is
 * promised to survive: its close was acknowledged, and where it was renamed, fsync of the folder too.
 * A test kills it, or what it writes to. Run as: writer.js FOLDER JOURNAL
 */
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { appendFileSync, closeSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const [folder, journal] = process.argv.slice(2)
if (folder === undefined || journal === undefined) throw new Error('writer.js FOLDER JOURNAL')

for (let i = 0; ; i++) {
  const name = `file-${process.pid}-${i}`
  const data = randomBytes(randomInt(10) === 0 ? 3_000_000 : randomInt(100_000))
  const path = join(folder, name)
  const byRename = i % 3 === 0
  const file = openSync(byRename ? `${path}.new` : path, 'w')
  let at = 0
  while (at < data.length) at += writeSync(file, data, at, Math.min(65_536, data.length - at))
  if (i % 2 === 0) fsyncSync(file)
  closeSync(file)
  if (byRename) {
    renameSync(`${path}.new`, path)
    syncFolder(folder)
  }
  appendFileSync(journal, `${name} ${createHash('sha256').update(data).digest('hex')}\n`)
}

/** A rename is durable only by this: https://man7.org/linux/man-pages/man2/fsync.2.html */
function syncFolder(path: string): void {
  const directory = openSync(path, 'r')
  fsyncSync(directory)
  closeSync(directory)
}
