/**
 * A mount without FUSE in a process of its own, for tests to freeze and kill: makes FOLDER, in it
 * `closed`, which it closes, and `open`, which it does not, says `open`; at the next line of its input
 * closes that, too, and says what came of it. Run as: lease-holder.js PROFILE-JSON FOLDER
 */
import { readFileSync } from 'node:fs'
import { constants } from 'node:fs'
import { once } from 'node:events'
import { openClient } from '../../mount/client/open.ts'
import type { Profile } from '../../mount/client/profile.ts'
import { openFileSystem } from '../../mount/vfs/file-system.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { silent } from './transport.ts'

const OWNER = { uid: 1, gid: 1 }
const [, , file, folder] = process.argv
if (file === undefined || folder === undefined)
  throw new Error('lease-holder.js PROFILE-JSON FOLDER')

const profile = JSON.parse(readFileSync(file, 'utf8')) as Profile
const client = await openClient({ profile, log: silent })
const fs = await openFileSystem({ client, log: silent })

async function make(name: string): Promise<number> {
  const handle = await fs.create(`${folder}/${name}`, 0o644, constants.O_WRONLY, OWNER)
  await fs.write(handle, Buffer.from(`content of ${name}`), 0)
  return handle
}

await fs.mkdir(folder, 0o755, OWNER)
// The first file makes the client ask for inode numbers.
await fs.release(await make('first'))
await fs.statfs()
await fs.release(await make('closed'))
const handle = await make('open')
process.stdout.write('open\n')
await once(process.stdin, 'data')
try {
  await fs.flush(handle)
  process.stdout.write('closed: no error\n')
} catch (error) {
  process.stdout.write(`closed: ${error instanceof DfsError ? error.code : String(error)}\n`)
}
await fs.release(handle).catch(() => undefined)
// It goes on without the lease.
process.stdout.write(
  `names: ${(await fs.list(folder))
    .map(({ name }) => name)
    .sort()
    .join(' ')}\n`,
)
await fs.close()
await client.close()
process.exit(0)
