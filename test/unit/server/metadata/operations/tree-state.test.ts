/**
 * The state of a tree at the server, on a real store: compared and swapped with its pages, bounded, a
 * user's own, and gone with the user.
 */
import t from 'tap'
import { limits } from '../../../../../schema/wire/limits.ts'
import {
  readTreeState,
  writeTreeState,
} from '../../../../../server/metadata/operations/tree-state.ts'
import { deleteUser } from '../../../../../server/metadata/operations/user-administration.ts'
import { TestMetadata, type TestSession } from '../../../../support/metadata.ts'
import { checkStore } from '../../../../support/metadata-check.ts'

const LEVEL = 2 ** 48
const PATIENCE_MS = 10_000
const state = (text: string): Uint8Array => Buffer.from(text)

t.test('a state replaces the one that it names, and no other', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { services, store } = metadata
  const { session } = await metadata.user('ann')
  const { session: bob } = await metadata.user('bob')
  const write = (by: TestSession, counter: number, text: string, pages: [number, string][] = []) =>
    writeTreeState(
      {
        counter,
        state: state(text),
        pages: pages.map(([page, bytes]) => ({ page, bytes: Buffer.from(bytes) })),
      },
      by.caller,
      services,
    )
  const pages = [0, LEVEL, 3 * LEVEL]
  t.same(await session.query(readTreeState, { pages: [] }), {
    counter: 0,
    state: new Uint8Array(0),
    pages: [],
  })
  await write(session, 0, 'first', [
    [0, 'leaf'],
    [LEVEL, 'above'],
  ])
  for (const counter of [0, 2, 3]) {
    const refused = write(session, counter, 'late', [[0, 'lost']])
    await t.rejects(refused, { code: 'versionConflict' }, `after state ${counter}`)
  }
  await write(session, 1, 'second', [[0, 'a longer leaf']])
  const read = await session.query(readTreeState, { pages })
  t.match(read, { counter: 2 })
  t.same(Buffer.from(read.state).toString(), 'second')
  t.same(
    read.pages.map(({ page, bytes }) => [page, Buffer.from(bytes).toString()]),
    [
      [0, 'a longer leaf'],
      [LEVEL, 'above'],
      [3 * LEVEL, ''],
    ],
  )
  t.match(await bob.query(readTreeState, { pages }), { counter: 0 }, "another user's is apart")
  await write(bob, 0, "bob's", [[0, 'his leaf']])
  t.same(await checkStore(store), [])
  await write(session, 2, 'third', [[0, '']])
  t.match((await session.query(readTreeState, { pages: [0] })).pages[0]?.bytes.length, 0)
  t.same(await checkStore(store), [])

  await write(session, 3, 'fourth', [[0, 'again']])
  await deleteUser({ user: 'ann' }, services)
  const endMs = Date.now() + PATIENCE_MS
  const left = async (): Promise<number> => {
    const from = Buffer.from('f')
    return (await store.range({ from, to: Buffer.from('h'), limit: 10 })).length
  }
  while ((await left()) > 2 && Date.now() < endMs) await new Promise((r) => setTimeout(r, 20))
  t.equal(await left(), 2, "what is left is bob's state and page")
  t.same(await checkStore(store), [])
  await t.rejects(write(session, 4, 'too late'), { code: 'notLoggedIn' })
})

t.test('of two that are written at once one succeeds', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { session } = await metadata.user('ann')
  const both = await Promise.allSettled(
    ['a', 'b'].map(async (text) => {
      const request = { counter: 0, state: state(text), pages: [] }
      return writeTreeState(request, session.caller, metadata.services)
    }),
  )
  t.same(both.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
})

t.test('what is too much is refused', async (t) => {
  const metadata = await TestMetadata.open(t)
  const { services } = metadata
  const { session } = await metadata.user('ann')
  const write = async (pages: { page: number; bytes: Uint8Array }[], bytes = 10): Promise<object> =>
    writeTreeState({ counter: 0, state: Buffer.alloc(bytes), pages }, session.caller, services)
  const invalid = { code: 'invalidArgument' }
  await t.rejects(write([], 0), invalid, 'no state')
  await t.rejects(write([], limits.treeStateBytesMax + 1), invalid, 'a long state')
  const page = { page: 0, bytes: Buffer.alloc(limits.treePageBytesMax + 1) }
  await t.rejects(write([page]), invalid, 'a long page')
  const small = { page: 0, bytes: Buffer.of(1) }
  await t.rejects(write([small, small]), invalid, 'a page twice')
  await t.rejects(write([{ ...small, page: 4 * LEVEL }]), invalid, 'a page of no level')
  await t.rejects(write([{ ...small, page: 1_000_000 }]), invalid, 'inodes that never were')
  const many = Array.from({ length: limits.treePagesPerRequestMax + 1 }, (_, at) => at)
  await t.rejects(write(many.map((at) => ({ ...small, page: at }))), invalid, 'many pages')
  await t.rejects(session.query(readTreeState, { pages: many }), invalid, 'many to read')

  // As if millions of inode numbers had been given out.
  while (services.inodeIds.next < 600 * limits.treePageSlots) {
    await services.inodeIds.takeRange(10_000)
  }
  const full = Buffer.alloc(limits.treePageBytesMax)
  const fill = async (): Promise<void> => {
    for (let counter = 0; ; counter++) {
      const pages = Array.from({ length: 64 }, (_, at) => ({
        page: counter * 64 + at,
        bytes: full,
      }))
      await writeTreeState({ counter, state: state('x'), pages }, session.caller, services)
    }
  }
  await t.rejects(fill(), { code: 'quotaExceeded' }, 'more bytes than inodes account for')
  t.same(await checkStore(metadata.store), [])
})
