/**
 * Access control lists at the servers: what they cost where there are none, that the mode and a list change
 * together whoever else changes them, and that nobody gets in before the list is there.
 */
import { constants } from 'node:fs'
import t, { type Test } from 'tap'
import type { FileSystem } from '../../mount/vfs/api.ts'
import {
  ACCESS_ACL,
  ACL_TAG,
  decodeAcl,
  DEFAULT_ACL,
  encodeAcl,
  modeOf,
  NO_ID,
  type Acl,
} from '../../mount/vfs/acl.ts'
import { methods } from '../../schema/methods.ts'
import type { Method } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { present } from '../support/present.ts'
import { startStore, type Mounted } from '../support/store-processes.ts'
import { until } from '../support/transport.ts'

const { O_RDWR, O_RDONLY } = constants
const OWNER = { uid: 3, gid: 4, umask: 0o022 }
const WAIT_MS = 30_000

t.setTimeout(240_000)
const store = await startStore(t)

const list = (group: number, mask: number, other = 0): Acl => [
  { tag: ACL_TAG.owner, permissions: 7, id: NO_ID },
  { tag: ACL_TAG.user, permissions: 6, id: 1_000 },
  { tag: ACL_TAG.owningGroup, permissions: group, id: NO_ID },
  { tag: ACL_TAG.mask, permissions: mask, id: NO_ID },
  { tag: ACL_TAG.other, permissions: other, id: NO_ID },
]

/** Names of the requests about files that a mount makes from here on; `before` is waited for, with each change. */
function requestsOf(
  { client: { session } }: Mounted,
  before: (method: string) => Promise<void> = async () => undefined,
): string[] {
  const names: string[] = []
  const read = session.read.bind(session)
  const mutate = session.mutate.bind(session)
  session.read = async <Q, R>(method: Method<Q, R>, request: Q) => {
    if (method.id !== methods.readTreeState.id) names.push(method.name)
    return read(method, request)
  }
  session.mutate = async (method, request) => {
    await before(method.name)
    names.push(method.name)
    return mutate(method, request)
  }
  return names
}

async function mount(t: Test): Promise<Mounted> {
  const mounted = await store.mount()
  t.teardown(async () => mounted.close())
  return mounted
}

/** A mount that has the lease, and numbers for what it makes. */
async function alone(t: Test): Promise<Mounted> {
  const mounted = await mount(t)
  const { session } = mounted.client
  t.ok(await until(() => session.lease.term !== undefined, WAIT_MS), 'the lease was given')
  await make(mounted.fs, '/first')
  await mounted.fs.unlink('/first')
  await session.read(methods.statfs, {})
  return mounted
}

async function make(fs: FileSystem, path: string, mode = 0o666, flags = O_RDWR): Promise<void> {
  await fs.release(await fs.create(path, mode, flags, OWNER))
}

const permissions = async (fs: FileSystem, path: string): Promise<number> =>
  (await fs.stat(path)).mode & 0o7777

async function listOf(fs: FileSystem, path: string, name = ACCESS_ACL): Promise<Acl> {
  return present(decodeAcl(await fs.getXattr(path, name)))
}

void t.test('without extended attributes nothing is asked for', async (t) => {
  const mounted = await alone(t)
  const { fs } = mounted
  await fs.mkdir('/plain', 0o777, OWNER)
  await fs.fsyncDirectory()
  const asked = requestsOf(mounted)
  await make(fs, '/plain/f')
  t.same(asked.splice(0), ['birth'], 'made in one request')
  for (const path of ['/plain', '/plain/f']) {
    t.notOk((await fs.stat(path)).hasXattrs)
    await t.rejects(fs.getXattr(path, ACCESS_ACL), { code: 'noAttribute' })
    await t.rejects(fs.getXattr(path, DEFAULT_ACL), { code: 'noAttribute' })
    t.same(await fs.listXattrs(path), [])
    await fs.removeXattr(path, ACCESS_ACL)
  }
  const handle = await fs.open('/plain/f', O_RDONLY)
  await t.rejects(fs.getXattr(handle, ACCESS_ACL), { code: 'noAttribute' })
  await fs.release(handle)
  t.same(asked.splice(0), [])
  await fs.chmod('/plain/f', 0o640)
  await fs.mkdir('/plain/d', 0o777, OWNER)
  await fs.fsyncDirectory()
  t.same(asked, ['setAttributes', 'changeNames'])
  t.equal(await permissions(fs, '/plain/d'), 0o755, 'the umask counts')
})

void t.test('with others, but without a list to inherit, files are made as fast', async (t) => {
  const mounted = await alone(t)
  const { fs } = mounted
  await fs.mkdir('/other', 0o777, OWNER)
  await fs.setXattr('/other', 'user.a', Buffer.from('1'), 'either')
  const asked = requestsOf(mounted)
  for (const name of ['a', 'b', 'c']) await make(fs, `/other/${name}`)
  t.same(asked, ['birth', 'birth', 'birth'])
  t.ok((await fs.stat('/other')).hasXattrs)
})

void t.test('a list and the mode go in one request', async (t) => {
  const mounted = await alone(t)
  const { fs } = mounted
  await make(fs, '/both')
  const asked = requestsOf(mounted)
  await fs.setXattr('/both', ACCESS_ACL, encodeAcl(list(4, 5)), 'either')
  t.same(asked.splice(0), ['setAttributes'])
  t.equal(await permissions(fs, '/both'), 0o750)
  await fs.chmod('/both', 0o4712)
  t.same(asked.splice(0), ['setAttributes'])
  t.same(await listOf(fs, '/both'), list(4, 1, 2))
  await fs.chmod('/both', (mode) => mode & 0o777)
  t.equal(await permissions(fs, '/both'), 0o712)
  await t.rejects(fs.setXattr('/both', DEFAULT_ACL, encodeAcl(list(4, 5)), 'either'), {
    code: 'forbidden',
  })
  await fs.symlink('both', '/link', OWNER)
  for (const name of [ACCESS_ACL, DEFAULT_ACL]) {
    const set = fs.setXattr('/link', name, encodeAcl(list(4, 5)), 'either')
    await t.rejects(set, { code: 'notSupported' })
  }
})

void t.test('what inherits a list is closed until it has it', async (t) => {
  const other = await mount(t)
  const mounted = await mount(t)
  const { fs } = mounted
  await fs.mkdir('/in', 0o777, OWNER)
  await fs.setXattr('/in', DEFAULT_ACL, encodeAcl(list(5, 7, 5)), 'either')
  let path = ''
  const between: number[] = []
  const asked = requestsOf(mounted, async (method) => {
    if (method === 'setAttributes') between.push(await permissions(other.fs, path))
  })
  path = '/in/f'
  const handle = await fs.create(path, 0o664, O_RDWR, OWNER)
  t.equal((await fs.statHandle(handle)).mode & 0o7777, 0o664)
  const [, ...others] = list(5, 6, 4)
  const owner = { tag: ACL_TAG.owner, permissions: 6, id: NO_ID }
  t.same(decodeAcl(await fs.getXattr(handle, ACCESS_ACL)), [owner, ...others])
  await fs.release(handle)
  path = '/in/d'
  await fs.mkdir(path, 0o2775, OWNER)
  t.same(await listOf(fs, path, DEFAULT_ACL), list(5, 7, 5))
  path = '/in/p'
  await fs.mknod(path, 0o010666, 0, OWNER)
  t.same(between, [0o600, 0o2700, 0o600])
  t.equal(asked.filter((name) => name === 'setAttributes').length, 3)
  for (const name of ['f', 'd', 'p']) {
    t.same(await listOf(other.fs, `/in/${name}`), await listOf(fs, `/in/${name}`))
    t.equal(await permissions(other.fs, `/in/${name}`), await permissions(fs, `/in/${name}`))
  }
})

void t.test('under the lease, too; and it stays closed when the list is refused', async (t) => {
  const mounted = await alone(t)
  const { fs } = mounted
  await fs.mkdir('/held', 0o777, OWNER)
  await fs.setXattr('/held', DEFAULT_ACL, encodeAcl(list(5, 7, 5)), 'either')
  let refuse = true
  requestsOf(mounted, async (method) => {
    if (refuse && method === 'setAttributes') throw new DfsError('quotaExceeded', 'no room')
  })
  await t.rejects(make(fs, '/held/f'), { code: 'quotaExceeded' })
  await t.rejects(fs.mkdir('/held/d', 0o777, OWNER), { code: 'quotaExceeded' })
  refuse = false
  await make(fs, '/held/g')
  await fs.mkdir('/held/e', 0o777, OWNER)
  const other = await mount(t)
  for (const seen of [fs, other.fs]) {
    t.equal(await permissions(seen, '/held/f'), 0o600)
    t.equal(await permissions(seen, '/held/d'), 0o700)
    t.equal(await permissions(seen, '/held/g'), 0o664)
    t.equal(await permissions(seen, '/held/e'), 0o775)
  }
  await fs.unlink('/held/f')
  await fs.rmdir('/held/d')
})

void t.test('a list that somebody else set on an open file can be removed', async (t) => {
  const one = (await mount(t)).fs
  const two = (await mount(t)).fs
  const handle = await one.create('/open', 0o640, O_RDWR, OWNER)
  await one.fsync(handle)
  for (const target of ['/open', handle]) {
    await one.write(handle, Buffer.from('unsaved'), 0)
    await two.setXattr('/open', ACCESS_ACL, encodeAcl(list(4, 5)), 'either')
    await one.removeXattr(target, ACCESS_ACL)
    await t.rejects(two.getXattr('/open', ACCESS_ACL), { code: 'noAttribute' })
    await one.flush(handle)
    t.equal(await permissions(two, '/open'), 0o750, 'the mode stays')
  }
  await one.release(handle)
})

void t.test('mounts that change both at once never part a list from its mode', async (t) => {
  const one = (await mount(t)).fs
  const two = (await mount(t)).fs
  await make(one, '/raced')
  for (let round = 0; round < 20; round++) {
    const acl = encodeAcl(list(round % 8, (round * 3) % 8, (round * 5) % 8))
    await Promise.all([
      one.setXattr('/raced', ACCESS_ACL, acl, 'either'),
      two.chmod('/raced', (round * 73) % 0o1000),
      two.setXattr('/raced', 'user.round', Buffer.from(String(round)), 'either'),
    ])
    for (const fs of [one, two]) {
      const mode = await permissions(fs, '/raced')
      t.equal(modeOf(await listOf(fs, '/raced'), mode), mode, `round ${round}`)
      t.equal(String(Buffer.from(await fs.getXattr('/raced', 'user.round'))), String(round))
    }
  }
})
