/**
 * The session against a real metadata server that is killed and restarted under it: mutations take
 * effect exactly once, open files stay, refusals come through.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { methods } from '../../schema/methods.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { MetadataSession } from '../../mount/client/api.ts'
import {
  createFile as create,
  listNames as names,
  MetadataProcess,
  openSession,
  unlinkFile as unlink,
} from '../support/client-metadata.ts'
import { until } from '../support/transport.ts'

const metadata = await MetadataProcess.start(t)
const profile = await metadata.register('alice', 'a password')
const open = async (t: Test): Promise<MetadataSession> => openSession(t, profile)

t.test('an open file without a name lives until its last hold is released', async (t) => {
  const session = await open(t)
  const inode = await create(session, 'held twice', { hold: true })
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
    let done = 0
    const kills = (async () => {
      let count = 0
      while (!stop.signal.aborted) {
        const before = done
        await sleep(700)
        // On a busy machine some get nothing done in that time.
        await until(() => done - before >= 8 || stop.signal.aborted, 60_000)
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
        done++
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
    t.ok(expected.length > 20, `${expected.length} files`)
    t.same(
      await names(session),
      expected.sort((a, b) => a.localeCompare(b)),
    )
  },
)

t.test('an open file without a name survives a restart', async (t) => {
  const session = await open(t)
  const inode = await create(session, 'orphan', { hold: true })
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

t.test('refusals of the server come through unchanged, at once', async (t) => {
  const session = await open(t)
  await create(session, 'there')
  await t.rejects(create(session, 'there'), { code: 'exists' })
  await t.rejects(unlink(session, 'not there'), { code: 'notFound' })
  await t.rejects(session.read(methods.getInode, { inode: 9_999_999, hold: false }), {
    code: 'staleInode',
  })
})
