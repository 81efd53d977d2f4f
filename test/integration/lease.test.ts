/**
 * The lease of a tree over real servers: what a mount holds back reaches others before they look,
 * survives a restart of the server, and is refused once the lease was taken away.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { constants, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { FileSystem } from '../../mount/vfs/api.ts'
import { methods } from '../../schema/methods.ts'
import type { Method } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { noMounts, run, startCluster } from '../support/cluster.ts'
import { startStore, type Mounted } from '../support/store-processes.ts'
import { until } from '../support/transport.ts'
import { readFile } from '../support/whole-files.ts'

const { O_RDWR } = constants
const OWNER = { uid: 3, gid: 4 }
const WAIT_MS = 30_000
const holderScript = fileURLToPath(new URL('../support/lease-holder.js', import.meta.url))

t.setTimeout(280_000)

const store = await startStore(t)

/** Counts the requests that a mount makes from here on. */
function counted({ client: { session } }: Mounted): Map<string, number> {
  const counts = new Map<string, number>()
  const count = (name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1)
  const read = session.read.bind(session)
  const mutate = session.mutate.bind(session)
  session.read = async <Q, R>(method: Method<Q, R>, request: Q) => {
    count(method.name)
    return read(method, request)
  }
  session.mutate = async (method, request) => {
    count(method.name)
    return mutate(method, request)
  }
  return counts
}

/** A mount that has the lease, and numbers to give to new files. */
async function leased(t: Test): Promise<Mounted> {
  const mounted = await store.mount()
  t.teardown(async () => mounted.close())
  const { session } = mounted.client
  t.ok(await until(() => session.lease.term !== undefined, WAIT_MS), 'the lease was given')
  const { fs } = mounted
  const handle = await fs.create('/first', 0o600, O_RDWR, OWNER)
  await fs.release(handle)
  await fs.unlink('/first')
  await session.read(methods.statfs, {})
  return mounted
}

async function make(fs: FileSystem, path: string, text: string): Promise<number> {
  const handle = await fs.create(path, 0o640, O_RDWR, OWNER)
  await fs.write(handle, Buffer.from(text), 0)
  return handle
}

class Holder {
  readonly process: ChildProcessWithoutNullStreams
  said = ''

  private constructor(process: ChildProcessWithoutNullStreams) {
    this.process = process
    process.stdout.on('data', (data: Buffer) => (this.said += data.toString()))
    process.stderr.on('data', (data: Buffer) => (this.said += data.toString()))
  }

  static async start(t: Test, folder: string): Promise<Holder> {
    const file = join(t.testdir(), 'profile.json')
    writeFileSync(file, JSON.stringify(store.profile), { mode: 0o600 })
    const holder = new Holder(spawn(process.execPath, [holderScript, file, folder]))
    t.teardown(() => holder.process.kill('SIGKILL'))
    if (!(await holder.says('open\n'))) throw new Error(`the holder did not start: ${holder.said}`)
    return holder
  }

  async says(text: string): Promise<boolean> {
    return until(() => this.said.includes(text), WAIT_MS)
  }
}

void t.test('a new small file is one request, and what is known is none', async (t) => {
  const mounted = await leased(t)
  const { fs } = mounted
  await fs.mkdir('/d', 0o755, OWNER)
  await fs.fsyncDirectory()
  const counts = counted(mounted)
  await t.rejects(fs.stat('/d/f'), { code: 'notFound' })
  const handle = await make(fs, '/d/f', 'hello')
  await fs.utimens('/d/f', 7_000_000_000n, 9_000_000_000n)
  await fs.chmod('/d/f', 0o604)
  await fs.statHandle(handle)
  await fs.flush(handle)
  await fs.release(handle)
  const stat = await fs.stat('/d/f')
  await fs.stat('/d')
  t.same(
    (await fs.list('/d')).map(({ name }) => name),
    ['f'],
  )
  t.same([...counts], [['birth', 1]])
  t.match(stat, { mode: 0o100604, size: 5, atime: 7_000_000_000n, mtime: 9_000_000_000n })
  await fs.rename('/d/f', '/d/g')
  await t.rejects(fs.stat('/d/f'), { code: 'notFound' })
  await fs.stat('/d/g')
  await fs.unlink('/d/g')
  await t.rejects(fs.stat('/d/g'), { code: 'notFound' })
  await fs.rmdir('/d')
  await fs.fsyncDirectory()
  t.same(
    [...counts],
    [
      ['birth', 1],
      ['changeNames', 1],
    ],
  )
  const taken = await make(fs, '/taken', 'by a file that is not sent yet')
  await t.rejects(fs.mkdir('/taken', 0o755, OWNER), { code: 'exists' })
  await fs.release(taken)
  await fs.unlink('/taken')
  const other = await store.mount()
  t.same(await other.fs.list('/'), [])
  await other.close()
})

void t.test('small files of a directory are fetched before they are asked for', async (t) => {
  const writer = await store.mount()
  const { fs } = writer
  await fs.mkdir('/many', 0o755, OWNER)
  const text = (file: number): string => `${file} `.repeat(4_000)
  for (let file = 0; file < 10; file++) {
    const handle = await make(fs, `/many/${file}`, text(file))
    await fs.flush(handle)
    await fs.release(handle)
  }
  await writer.close()
  const mounted = await leased(t)
  const names = (await mounted.fs.list('/many')).map(({ name }) => name)
  const counts = counted(mounted)
  for (const name of names) {
    t.equal(String(await readFile(mounted.fs, `/many/${name}`)), text(Number(name)))
    if (name !== names[1]) continue
    const all = async (): Promise<boolean> =>
      until(() => counts.get('readWindows') === names.length, WAIT_MS)
    t.ok(await all(), 'two were read, and all are asked for')
  }
  t.equal(counts.get('readWindows'), names.length, 'once each')
  const other = await store.mount()
  for (const name of names) await other.fs.unlink(`/many/${name}`)
  await other.fs.rmdir('/many')
  await other.close()
})

void t.test('what one mount holds back another sees at once, and then both ask', async (t) => {
  const { fs, client, log } = await leased(t)
  const handle = await make(fs, '/held back', 'not yet closed')
  const { inode } = await fs.statHandle(handle)
  const other = await store.mount()
  const seen = await other.fs.stat('/held back')
  t.equal(seen.inode, inode)
  t.equal(seen.mode, 0o100640)
  t.equal(seen.uid, OWNER.uid)
  t.equal(client.session.lease.term, undefined, 'the lease was recalled')
  await fs.flush(handle)
  t.equal(String(await readFile(other.fs, '/held back')), 'not yet closed')
  await other.fs.unlink('/held back')
  await t.rejects(fs.stat('/held back'), { code: 'notFound' }, 'no cache answers any more')
  await fs.release(handle)
  await other.close()
  t.ok(await until(() => client.session.lease.term !== undefined, WAIT_MS), 'alone again')
  t.same(log.errors(), [])
})

void t.test('files held back outlive a restart of the metadata server', async (t) => {
  const { fs, log } = await leased(t)
  const handle = await make(fs, '/a', 'small')
  const large = await fs.create('/b', 0o644, O_RDWR, OWNER)
  await fs.write(large, Buffer.alloc(100_000, 7), 0)
  const { inode } = await fs.statHandle(handle)
  await store.metadata.stop('SIGKILL')
  // One while it is away, the other when it is back.
  const flushed = fs.flush(handle)
  await store.metadata.start()
  await flushed
  await fs.release(handle)
  await fs.flush(large)
  await fs.release(large)
  const other = await store.mount()
  t.equal((await other.fs.stat('/a')).inode, inode)
  t.equal(String(await readFile(other.fs, '/a')), 'small')
  t.equal((await other.fs.stat('/b')).size, 100_000)
  await other.close()
  t.same(log.errors(), [])
})

void t.test('a frozen mount loses the lease, and is told when it closes its file', async (t) => {
  const holder = await Holder.start(t, '/frozen')
  holder.process.kill('SIGSTOP')
  const startedMs = performance.now()
  const other = await store.mount()
  const names = (await other.fs.list('/frozen')).map(({ name }) => name).sort()
  const tookMs = performance.now() - startedMs
  t.same(names, ['closed', 'first'], 'what was closed is there')
  t.ok(tookMs >= limits.leaseTermMs / 2, `not before the term ended: ${tookMs} ms`)
  const handle = await make(other.fs, '/frozen/open', 'by the other one')
  await other.fs.flush(handle)
  await other.fs.release(handle)
  holder.process.kill('SIGCONT')
  holder.process.stdin.write('close\n')
  t.ok(await holder.says('closed: staleLease\n'), holder.said)
  t.ok(await holder.says('names: closed first open\n'), `it goes on: ${holder.said}`)
  t.equal(String(await readFile(other.fs, '/frozen/open')), 'by the other one')
  await other.close()
})

void t.test('a killed mount loses what it never closed, and nothing else', async (t) => {
  const holder = await Holder.start(t, '/killed')
  holder.process.kill('SIGKILL')
  const other = await store.mount()
  t.equal(String(await readFile(other.fs, '/killed/closed')), 'content of closed')
  await t.rejects(other.fs.stat('/killed/open'), { code: 'notFound' })
  await other.close()
})

const reason = noMounts()

void t.test(
  'hundreds of small files copied, and the mount killed: all are there and whole',
  {
    ...(reason === undefined ? {} : { skip: reason }),
    timeout: 250_000,
  },
  async (t) => {
    const from = join(t.testdir(), 'from')
    for (let folder = 0; folder < 10; folder++) {
      mkdirSync(join(from, String(folder)), { recursive: true })
      for (let file = 0; file < 40; file++) {
        writeFileSync(join(from, String(folder), `f${file}`), Buffer.alloc(folder * 500, file))
      }
    }
    const cluster = startCluster(t)
    run('cp', '-r', from, cluster.mount)
    cluster.kill('mount')
    cluster.up()
    t.equal(run('diff', '-r', from, join(cluster.mount, 'from')), '')
  },
)
