/**
 * What the servers hold for a path is shown as it is, and it is no plaintext: neither in what
 * `dfs reveal` prints nor in any byte that the daemons keep.
 */
import { randomBytes } from 'node:crypto'
import { constants, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { writeProfile } from '../../mount/client/profile.ts'
import type { FileSystem } from '../../mount/vfs/api.ts'
import { keys } from '../../server/metadata/store/keys.ts'
import { tables } from '../../server/metadata/store/tables.ts'
import { directories, MetadataRecords } from '../support/cheating-servers.ts'
import { runDfs } from '../support/cluster.ts'
import { startStore } from '../support/store-processes.ts'

// Many processes one after the other, on a machine that may be busy.
t.setTimeout(290_000)

const OWNER = { uid: 0, gid: 0 }
const LARGE = 150_000
const SMALL = 200
/** Bytes of content that may nowhere be found together. */
const WINDOW = 16
const names = ['a telling folder', 'a telling file', 'a small telling file', 'a telling link']
const target = 'a telling target of the link'
const [folder = '', file = '', small = '', link = ''] = names

async function write(fs: FileSystem, path: string, bytes: Buffer): Promise<void> {
  const handle = await fs.create(path, 0o600, constants.O_RDWR, OWNER)
  await fs.write(handle, bytes, 0)
  await fs.flush(handle)
  await fs.release(handle)
}

interface Shown {
  readonly records: { table: string; key: string; value: string; fields: { inode?: unknown } }[]
  readonly servers: { id: number }[]
}

t.test('reveal prints the stored bytes, and none of them is plaintext', async (t) => {
  const store = await startStore(t, { chunkservers: 2, replicas: 2 })
  const ann = await store.register('ann')
  const profile = join(store.dir, 'profile')
  await writeProfile(profile, ann)
  const contents = [randomBytes(LARGE), randomBytes(SMALL)]
  const [large = Buffer.of(), little = Buffer.of()] = contents
  const mounted = await store.mount({}, ann)
  const { fs } = mounted
  await fs.mkdir(`/${folder}`, 0o700, OWNER)
  await write(fs, `/${folder}/${file}`, large)
  await write(fs, `/${folder}/${small}`, little)
  await fs.symlink(target, `/${folder}/${link}`, OWNER)
  await fs.setXattr(`/${folder}/${small}`, 'user.telling-name', Buffer.from('a value'), 'create')
  await mounted.close()

  const reveal = (path: string, ...more: string[]): string => {
    const { status, stdout, stderr } = runDfs('dfs', [
      'reveal',
      path,
      '--profile',
      profile,
      ...more,
    ])
    t.equal(status, 0, stderr)
    return stdout
  }
  const shown = (path: string): Shown => JSON.parse(reveal(path, '--json')) as Shown
  const tablesOf = ({ records }: Shown): string[] => records.map(({ table }) => table)
  const all = [shown('/'), ...names.map((name, i) => shown(i === 0 ? name : `${folder}/${name}`))]
  const [root, ofFolder, ofFile, ofSmall, ofLink] = all.map(tablesOf)
  t.same(root, ['InodeRecord'])
  for (const given of [ofFolder, ofLink]) t.same(given, ['DentryRecord', 'InodeRecord'])
  t.same(ofSmall, ['DentryRecord', 'InodeRecord', 'XattrRecord'], 'with its extended attributes')
  t.same(ofFile, ['DentryRecord', 'InodeRecord', 'WindowRecord', 'PlacedChunkRecord'])
  t.same(
    all[2]?.servers.map(({ id }) => id).sort((a, b) => a - b),
    [1, 2],
  )
  const text = reveal(`/${folder}/${file}`)
  t.match(text, /chunkserver-2 \(rack-[01]\)/)
  for (const name of [...names, target]) t.notOk(text.includes(name))
  const missing = runDfs('dfs', ['reveal', '/nothing', '--profile', profile])
  t.match(missing, { status: 1, stderr: /notFound/ })

  await store.metadata.stop('SIGTERM')
  let uncompressed: Buffer = Buffer.of()
  await MetadataRecords.edit(directories.metadata(store), async (records) => {
    for (const { table, key, value } of all.flatMap((one) => one.records)) {
      t.equal(value, (await records.raw(Buffer.from(key, 'hex'))).toString('hex'), table)
    }
    const number = all[2]?.records[0]?.fields.inode
    const inode = await records.get(tables.inodes, keys.inode(Number(number)))
    t.equal(inode.inode.attributes.size, LARGE, 'the fields are those of the record')
    uncompressed = await records.everything()
  })
  for (const daemon of store.chunkservers) await daemon.stop('SIGTERM')
  const stored = [...filesBelow(store.dir, /^(metadata|chunkserver-\d)\//), uncompressed]
  t.ok(
    stored.some((bytes) => bytes.includes('rack-1')),
    'the search finds what is there',
  )
  for (const name of [...names, target]) {
    t.notOk(
      stored.some((bytes) => bytes.includes(name)),
      name,
    )
  }
  t.equal(windowsFound(stored, contents), 0, `no ${WINDOW} bytes of content`)
  t.equal(windowsFound([Buffer.concat([Buffer.of(1), little])], contents), SMALL - WINDOW + 1)
})

/** Places in `stored` where as many bytes as a window has are those of some window of `contents`. */
function windowsFound(stored: readonly Buffer[], contents: readonly Buffer[]): number {
  const windows = new Set<string>()
  const at = (bytes: Buffer, from: number): string => bytes.toString('latin1', from, from + WINDOW)
  for (const content of contents) {
    for (let from = 0; from + WINDOW <= content.length; from++) windows.add(at(content, from))
  }
  let found = 0
  for (const bytes of stored) {
    for (let from = 0; from + WINDOW <= bytes.length; from++) {
      if (windows.has(at(bytes, from))) found++
    }
  }
  return found
}

function filesBelow(dir: string, wanted: RegExp): Buffer[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => wanted.test(path.slice(dir.length + 1)))
    .map((path) => readFileSync(path))
}
