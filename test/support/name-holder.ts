/**
 * A mount without FUSE in a process of its own that changes names and gets frozen or killed by itself or
 * a test. Run as: name-holder.js PROFILE-JSON FOLDER freeze | walk
 *
 * `freeze`: has FOLDER with `old`, makes `new` and removes `old`, and is frozen before anything of that
 * can have been sent; then says what a sync came to, and which names there are.
 *
 * `walk`: for i = 0, 1, … makes the directory `i` in FOLDER and removes `i - 2`, so that after each change
 * there are one to three numbers in a row; says `synced i` after each sync.
 */
import { readFileSync, writeSync } from 'node:fs'
import { openClient } from '../../mount/client/open.ts'
import type { Profile } from '../../mount/client/profile.ts'
import { openFileSystem } from '../../mount/vfs/file-system.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { silent } from './transport.ts'

const OWNER = { uid: 1, gid: 1 }
/** Steps between two syncs. */
const SYNC_EACH = 100
const [, , file, folder, mode] = process.argv
if (file === undefined || folder === undefined) {
  throw new Error('name-holder.js PROFILE-JSON FOLDER freeze | walk')
}

const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile
const client = await openClient({ profile, log: silent })
const fs = await openFileSystem({ client, log: silent })

async function names(): Promise<string> {
  const entries = await fs.list(folder ?? '/')
  return entries
    .map(({ name }) => name)
    .sort()
    .join(' ')
}

await fs.mkdir(folder, 0o755, OWNER)
// The first file makes the client ask for inode numbers.
await fs.release(await fs.create(`${folder}/old`, 0o644, 1, OWNER))
await fs.statfs()
await fs.fsyncDirectory()

if (mode === 'walk') {
  await fs.unlink(`${folder}/old`)
  for (let step = 0; ; step++) {
    await fs.mkdir(`${folder}/${step}`, 0o755, OWNER)
    if (step >= 2) await fs.rmdir(`${folder}/${step - 2}`)
    if (step % SYNC_EACH !== 0) continue
    await fs.fsyncDirectory()
    process.stdout.write(`synced ${step}\n`)
  }
}

await fs.mkdir(`${folder}/new`, 0o755, OWNER)
await fs.unlink(`${folder}/old`)
const before = await names()
// Synchronous: nothing is sent between the answers and the freeze.
writeSync(1, `before: ${before}\n`)
process.kill(process.pid, 'SIGSTOP')
const synced = await fs.fsyncDirectory().then(
  () => 'no error',
  (error: unknown) => (error instanceof DfsError ? error.code : String(error)),
)
process.stdout.write(`synced: ${synced}\n`)
process.stdout.write(`names: ${await names()}\n`)
await fs.close()
await client.close()
process.exit(0)
