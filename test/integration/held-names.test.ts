/**
 * Names that a mount answered and sends a moment later: nobody sees a tree without them, and whatever
 * dies, the server has all of them up to some point, and none after it.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { constants, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Profile } from '../../mount/client/profile.ts'
import type { FileSystem } from '../../mount/vfs/api.ts'
import { methods } from '../../schema/methods.ts'
import { startStore, type Mounted } from '../support/store-processes.ts'
import { until } from '../support/transport.ts'
import { readFile } from '../support/whole-files.ts'

const OWNER = { uid: 3, gid: 4 }
const WAIT_MS = 30_000
const KILLS = 5
const OPENED_ROUNDS = 60
/** Turns of the queue of promises between the two. */
const TURNS = 30
/** More than an inode holds by itself. */
const CONTENT_BYTES = 10_000
const holderScript = fileURLToPath(new URL('../support/name-holder.js', import.meta.url))

t.setTimeout(280_000)

const store = await startStore(t)

/** A mount that answers names by itself. */
async function leased(t: Test): Promise<Mounted> {
  const mounted = await store.mount()
  t.teardown(async () => mounted.close())
  const { fs, client } = mounted
  t.ok(await until(() => client.session.lease.term !== undefined, WAIT_MS), 'the lease was given')
  // Makes the client ask for inode numbers.
  await fs.release(await fs.create('/first', 0o600, constants.O_RDWR, OWNER))
  await fs.unlink('/first')
  await fs.fsyncDirectory()
  await client.session.read(methods.statfs, {})
  return mounted
}

async function namesIn(fs: FileSystem, folder: string): Promise<string[]> {
  return (await fs.list(folder)).map(({ name }) => name).sort()
}

class Holder {
  readonly process: ChildProcessWithoutNullStreams
  said = ''

  constructor(t: Test, profile: Profile, mode: 'freeze' | 'walk') {
    const file = join(store.dir, `${profile.user}.json`)
    writeFileSync(file, JSON.stringify(profile), { mode: 0o600 })
    this.process = spawn(process.execPath, [holderScript, file, '/held', mode])
    this.process.stdout.on('data', (data: Buffer) => (this.said += data.toString()))
    this.process.stderr.on('data', (data: Buffer) => (this.said += data.toString()))
    t.teardown(() => this.process.kill('SIGKILL'))
  }

  async says(text: string): Promise<boolean> {
    return until(() => this.said.includes(text), WAIT_MS)
  }
}

void t.test('another mount sees what was answered before it looked', async (t) => {
  const { fs, log } = await leased(t)
  await fs.mkdir('/a', 0o751, OWNER)
  const { inode } = await fs.stat('/a')
  await fs.mkdir('/a/b', 0o755, OWNER)
  await fs.rename('/a/b', '/c')
  await fs.mkdir('/gone', 0o755, OWNER)
  await fs.rmdir('/gone')
  const other = await store.mount()
  t.match(await other.fs.stat('/a'), { inode, mode: 0o40751, uid: 3, gid: 4, nlink: 2 })
  t.same(await namesIn(other.fs, '/'), ['a', 'c'])
  await fs.rmdir('/c')
  await other.fs.rmdir('/a')
  t.same(await namesIn(fs, '/'), [], 'nothing is answered from memory any more')
  await other.close()
  t.same(log.errors(), [])
})

void t.test(
  'the time that a directory was given is not changed by what was made before',
  async (t) => {
    const { fs } = await leased(t)
    await fs.mkdir('/timed', 0o755, OWNER)
    const handle = await fs.create('/timed/f', 0o644, constants.O_RDWR, OWNER)
    await fs.mkdir('/timed/d', 0o755, OWNER)
    const given = 1_512_546_342_000_000_000n
    await fs.utimens('/timed', given, given)
    await fs.write(handle, Buffer.from('content'), 0)
    await fs.release(handle)
    await fs.fsyncDirectory()
    t.equal((await fs.stat('/timed')).mtime, given)
    const other = await store.mount()
    t.equal((await other.fs.stat('/timed')).mtime, given, 'at the server, too')
    await other.close()
    await fs.unlink('/timed/f')
    await fs.rmdir('/timed/d')
    await fs.rmdir('/timed')
  },
)

void t.test('refusals are those of a local disk, with nothing sent', async (t) => {
  const { fs } = await leased(t)
  await fs.mkdir('/d', 0o755, OWNER)
  const handle = await fs.create('/d/f', 0o644, constants.O_RDWR, OWNER)
  const refusals: [string, () => Promise<void>][] = [
    ['exists', () => fs.mkdir('/d', 0o755, OWNER)],
    ['notFound', () => fs.mkdir('/x/y', 0o755, OWNER)],
    ['notDirectory', () => fs.mkdir('/d/f/y', 0o755, OWNER)],
    ['notEmpty', () => fs.rmdir('/d')],
    ['notDirectory', () => fs.rmdir('/d/f')],
    ['isDirectory', () => fs.unlink('/d')],
    ['notFound', () => fs.unlink('/d/x')],
    ['notFound', () => fs.rename('/x', '/y')],
    ['wouldLoop', () => fs.rename('/d', '/d/e')],
  ]
  for (const [code, change] of refusals) {
    await t.rejects(change(), { code }, change.toString())
  }
  await fs.release(handle)
  await fs.mkdir('/e', 0o755, OWNER)
  await t.rejects(fs.rename('/d/f', '/e'), { code: 'isDirectory' })
  await t.rejects(fs.rename('/e', '/d/f'), { code: 'notDirectory' })
  await t.rejects(fs.rename('/e', '/d'), { code: 'notEmpty' })
  await fs.rename('/d/f', '/f')
  await fs.rename('/e', '/d')
  t.same(await namesIn(fs, '/'), ['d', 'f'])
  await fs.unlink('/f')
  await fs.rmdir('/d')
  await fs.fsyncDirectory()
})

void t.test('who opened a file in the moment of its removal reads it', async (t) => {
  const { fs, log } = await leased(t)
  let opened = 0
  for (let round = 0; round < OPENED_ROUNDS; round++) {
    const content = Buffer.alloc(CONTENT_BYTES, round + 1)
    const handle = await fs.create('/f', 0o644, constants.O_RDWR, OWNER)
    await fs.write(handle, content, 0)
    await fs.release(handle)
    const opening = fs.open('/f', constants.O_RDONLY)
    for (let turn = 0; turn < round % TURNS; turn++) await Promise.resolve()
    const [reader] = await Promise.allSettled([opening, fs.unlink('/f')])
    if (reader.status === 'rejected') {
      t.match(reader.reason, { code: 'notFound' })
      continue
    }
    opened++
    await fs.fsyncDirectory()
    t.match(await fs.statHandle(reader.value), { nlink: 0, size: CONTENT_BYTES })
    const into = Buffer.alloc(CONTENT_BYTES)
    t.equal(await fs.read(reader.value, into, 0), CONTENT_BYTES)
    t.same(into, content)
    await fs.release(reader.value)
  }
  t.ok(opened > 0, `${opened} were opened`)
  t.same(log.errors(), [])
})

void t.test(
  'a new file of some KiB is there with its content, also behind other names',
  async (t) => {
    const { fs, client, log } = await leased(t)
    const contents = new Map<string, Buffer>()
    for (const [index, size] of [4_097, 10_000, 16_374, 16_375, 70_000].entries()) {
      const content = Buffer.alloc(size, index + 1)
      contents.set(`/new-${index}`, content)
      contents.set(`/behind-${index}`, content)
      const handle = await fs.create(`/new-${index}`, 0o640, constants.O_RDWR, OWNER)
      await fs.write(handle, content, 0)
      await fs.release(handle)
      // Sent in order: it may not overtake the folder.
      await fs.mkdir(`/d${index}`, 0o755, OWNER)
      const behind = await fs.create(`/behind-${index}`, 0o640, constants.O_RDWR, OWNER)
      await fs.write(behind, content, 0)
      await fs.utimens(behind, 5_000_000_000n, 7_000_000_000n)
      await fs.release(behind)
      const { inode } = await fs.stat(`/behind-${index}`)
      const request = { inode, first: 0, count: 1 }
      const { windows } = await client.session.read(methods.readWindows, request)
      const isPatch = size <= 16_374
      t.same(
        windows.map(({ extents, patch }) => [extents.length === 0, patch.length > 0]),
        [[isPatch, isPatch]],
        `${size} bytes`,
      )
    }
    await store.metadata.stop('SIGKILL')
    await store.metadata.start()
    const other = await store.mount()
    for (const [path, content] of contents) {
      t.ok(content.equals(await readFile(other.fs, path)), path)
      t.match(await other.fs.stat(path), { size: content.length, uid: OWNER.uid, nlink: 1 })
    }
    t.match(await other.fs.stat('/behind-1'), { mtime: 7_000_000_000n, atime: 5_000_000_000n })
    for (const path of contents.keys()) await other.fs.unlink(path)
    for (let index = 0; index < contents.size / 2; index++) await other.fs.rmdir(`/d${index}`)
    await other.close()
    t.same(log.errors(), [])
  },
)

void t.test('a restart of the metadata server loses none and repeats none', async (t) => {
  const { fs, log } = await leased(t)
  let made = 0
  const going = new AbortController()
  const making = (async () => {
    while (!going.signal.aborted) await fs.mkdir(`/made-${made++}`, 0o755, OWNER)
  })()
  await sleep(100)
  await store.metadata.stop('SIGKILL')
  await store.metadata.start()
  await sleep(100)
  going.abort()
  await making
  await fs.fsyncDirectory()
  const other = await store.mount()
  const names = await namesIn(other.fs, '/')
  t.equal(names.length, made, `${made} directories`)
  for (const name of names) await other.fs.rmdir(`/${name}`)
  await other.close()
  t.same(log.errors(), [])
})

void t.test('a killed mount leaves all its changes up to some point', async (t) => {
  const killed = async (user: string): Promise<void> => {
    // Of a user of its own: the session of a killed mount lives on for a while, and takes the lease with it.
    const profile = await store.register(user)
    const holder = new Holder(t, profile, 'walk')
    t.ok(await holder.says('synced 100\n'), holder.said)
    await sleep(Math.random() * 300)
    holder.process.kill('SIGKILL')
    const synced = Number(/synced (\d+)\n$/.exec(holder.said)?.[1])
    const other = await store.mount({}, profile)
    const left = (await namesIn(other.fs, '/held')).map(Number).sort((a, b) => a - b)
    const [first = 0, last = 0] = [left[0], left.at(-1)]
    t.ok(left.length >= 2 && left.length <= 3, `names ${left.join(' ')}`)
    t.equal(last - first, left.length - 1, 'in a row')
    t.ok(last >= synced, `${last} is not before ${synced}, which was synced`)
    await other.close()
  }
  await Promise.all(Array.from({ length: KILLS }, (_, kill) => killed(`walker-${kill}`)))
})

void t.test(
  'a frozen mount loses the lease, and what it answered is refused and reported',
  async (t) => {
    const profile = await store.register('frozen')
    const holder = new Holder(t, profile, 'freeze')
    t.ok(await holder.says('before: new\n'), holder.said)
    const other = await store.mount({}, profile)
    t.same(await namesIn(other.fs, '/held'), ['old'], 'it sent nothing')
    holder.process.kill('SIGCONT')
    t.ok(await holder.says('synced: staleLease\n'), holder.said)
    t.ok(await holder.says('names: old\n'), `it goes on: ${holder.said}`)
    t.same(await namesIn(other.fs, '/held'), ['old'])
    await other.close()
  },
)
