/**
 * The session against a real metadata server that is killed, frozen and restarted under it: reads go
 * on, mutations take effect exactly once, open files stay.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Attributes } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import { manifestDigest } from '../../schema/wire/content.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { InodeKey } from '../../mount/crypto/inode-key.ts'
import type { MetadataSession } from '../../mount/client/api.ts'
import { openClient } from '../../mount/client/open.ts'
import { MetadataProcess } from '../support/client-metadata.ts'
import { silent } from '../support/transport.ts'

const metadata = await MetadataProcess.start(t)
const profile = await metadata.register('alice', 'a password')

async function open(t: Test): Promise<MetadataSession> {
  const client = await openClient({ profile, log: silent })
  t.teardown(async () => client.close())
  return client.session
}

const file = (key: InodeKey): Attributes =>
  key.sealAttributes({
    kind: 1,
    mode: 0o644,
    uid: 0,
    gid: 0,
    rdev: 0,
    size: 0,
    mtime: 1n,
    version: 1,
    contentDigest: manifestDigest(new Uint8Array()),
  })

const parentOf = (session: MetadataSession): { inode: number; key: InodeKey } => ({
  inode: session.rootInode,
  key: session.rootKey,
})

async function create(session: MetadataSession, name: string, hold = false): Promise<number> {
  const { inode: parent, key: parentKey } = parentOf(session)
  const key = InodeKey.generate()
  const sealed = parentKey.sealEntry(name, { kind: 1, key })
  const { inode } = await session.mutate(methods.create, {
    parent,
    ...sealed,
    attributes: file(key),
    inline: new Uint8Array(0),
    hold,
  })
  key.verifyAttributes(inode.attributes)
  if (hold) session.held(inode.inode)
  return inode.inode
}

async function unlink(session: MetadataSession, name: string): Promise<void> {
  const { inode: parent, key } = parentOf(session)
  await session.mutate(methods.unlink, { parent, token: key.token(name), directory: false })
}

async function names(session: MetadataSession): Promise<string[]> {
  const { inode: directory, key } = parentOf(session)
  const found: string[] = []
  let after: Uint8Array = new Uint8Array(0)
  for (;;) {
    const { entries, more } = await session.read(methods.list, { directory, after, limit: 1_000 })
    for (const { token, entry } of entries) found.push(key.openEntry(token, entry).name)
    after = entries.at(-1)?.token ?? after
    if (!more) return found.sort((a, b) => a.localeCompare(b))
  }
}

t.test('an open file without a name lives until its last hold is released', async (t) => {
  const session = await open(t)
  const inode = await create(session, 'held twice', true)
  await session.read(methods.getInode, { inode, hold: true })
  session.held(inode)
  await unlink(session, 'held twice')
  session.release(inode)
  await sleep(200)
  t.equal((await session.read(methods.getInode, { inode, hold: false })).inode.nlink, 0)
  session.release(inode)
  t.ok(await gone(session, inode))
})

async function gone(session: MetadataSession, inode: number): Promise<boolean> {
  const endMs = performance.now() + 5_000
  while (performance.now() < endMs) {
    try {
      await session.read(methods.getInode, { inode, hold: false })
    } catch (error) {
      return error instanceof DfsError && error.code === 'staleInode'
    }
    await sleep(50)
  }
  return false
}

t.test(
  'mutations take effect exactly once while the server is killed again and again',
  async (t) => {
    const session = await open(t)
    const stop = new AbortController()
    const kills = (async () => {
      let count = 0
      while (!stop.signal.aborted) {
        await sleep(700)
        await metadata.kill()
        await sleep(50)
        await metadata.serve()
        count++
      }
      return count
    })()
    const expected: string[] = []
    const worker = async (id: number): Promise<void> => {
      const endMs = performance.now() + 5_000
      for (let i = 0; performance.now() < endMs; i++) {
        // Carried out twice, a create would meet its own entry and an unlink none.
        await create(session, `w${id}-${i}`)
        if (i % 3 === 0) await unlink(session, `w${id}-${i}`)
        else expected.push(`w${id}-${i}`)
      }
    }
    try {
      await Promise.all(Array.from({ length: 8 }, async (_, id) => worker(id)))
    } finally {
      stop.abort()
    }
    const killed = await kills
    t.ok(killed >= 2, `killed ${killed} times`)
    t.ok(expected.length > 100, `${expected.length} files`)
    t.same(
      await names(session),
      expected.sort((a, b) => a.localeCompare(b)),
    )
  },
)

t.test('an open file without a name survives a restart', async (t) => {
  const session = await open(t)
  const inode = await create(session, 'orphan', true)
  await unlink(session, 'orphan')
  await metadata.kill()
  await metadata.serve()
  t.equal((await session.read(methods.getInode, { inode, hold: false })).inode.nlink, 0)
})

t.test('reads go on over a restart that nobody announced', async (t) => {
  const session = await open(t)
  await session.read(methods.statfs, {})
  await metadata.kill()
  const reading = session.read(methods.statfs, {})
  await metadata.serve()
  t.ok((await reading).inodes > 0)
})

t.test('a server that freezes for a moment costs that moment', async (t) => {
  const session = await open(t)
  metadata.signal('SIGSTOP')
  const reading = session.read(methods.statfs, {})
  const creating = create(session, 'created while frozen')
  await sleep(3_000)
  metadata.signal('SIGCONT')
  await reading
  await creating
  t.ok((await names(session)).includes('created while frozen'))
})

t.test('refusals of the server come through unchanged, at once', async (t) => {
  const session = await open(t)
  await create(session, 'there')
  await t.rejects(create(session, 'there'), { code: 'exists' })
  await t.rejects(unlink(session, 'not there'), { code: 'notFound' })
  await t.rejects(session.read(methods.getInode, { inode: 9_999_999, hold: false }), {
    code: 'staleInode',
  })
})

t.test(
  'a closed session refuses, and closing does not wait for a server that is gone',
  async (t) => {
    const client = await openClient({ profile, log: silent })
    client.session.held(1)
    await metadata.kill()
    client.session.release(1)
    const waiting = client.session.read(methods.statfs, {})
    const refused = t.rejects(waiting, { code: /^(cancelled|shuttingDown|connectionLost)$/ })
    const startedMs = performance.now()
    await client.close()
    t.ok(performance.now() - startedMs < 4_000)
    await refused
    await t.rejects(client.session.read(methods.statfs, {}), { name: 'DfsError' })
    await metadata.serve()
  },
)

t.test('with the server gone for good, calls end at their deadline and say why', async (t) => {
  const session = await open(t)
  await metadata.kill()
  const startedMs = performance.now()
  await t.rejects(session.read(methods.statfs, {}), {
    code: /^(connectionRefused|connectionLost|deadlineExceeded)$/,
    message: /statfs/,
  })
  t.ok(performance.now() - startedMs < 13_000, `${performance.now() - startedMs} ms`)
})
