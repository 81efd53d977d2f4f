/**
 * A session over the version table: what is too old is marked, what is merely late is asked for again, and
 * what was changed here is written down in time.
 */
import t from 'tap'
import type { Inode } from '../../../../schema/generated/common.ts'
import type { GetInodeRequest, ResolveRequest } from '../../../../schema/generated/metadata.ts'
import { methods } from '../../../../schema/methods.ts'
import type { Method } from '../../../../schema/rpc/api.ts'
import type { MetadataSession } from '../../../../mount/client/api.ts'
import { Lease } from '../../../../mount/client/lease.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { Changes } from '../../../../mount/freshness/changes.ts'
import { FreshSession } from '../../../../mount/freshness/fresh-session.ts'
import { TreeKeeper } from '../../../../mount/freshness/tree-keeper.ts'
import { DEAD } from '../../../../mount/freshness/version-pages.ts'
import { attributes, NO_BYTES } from '../../../support/metadata.ts'
import { silent } from '../../../support/transport.ts'
import { TreeServer } from '../../../support/tree-server.ts'
import { inodeWith, sealedAttributes } from '../../../support/inodes.ts'

const key = InodeKey.generate()
const ROOT = 1
const FILE = 5
const LATER_MS = 2_500

const inodeOf = (inode: number, version: number): Inode =>
  inodeWith(inode, sealedAttributes(key, { version }))

/** A server with one file, whose version a test decides, and what happens while it answers. */
class OneFile {
  readonly tree = new TreeServer()
  readonly lease = new Lease()
  version = 1
  leases = 0
  whileAnswering: () => Promise<void> = async () => undefined
  requests = 0
  holds = 0

  session(): MetadataSession {
    const { lease } = this
    const tree = this.tree.session(key, 1)
    return {
      id: 1,
      userId: 1,
      device: 1,
      rootInode: ROOT,
      rootKey: key,
      replicas: 1,
      writeQuorum: 1,
      lease,
      read: async <Q, R>(method: Method<Q, R>, request: Q): Promise<R> => {
        if (method.id === methods.readTreeState.id || method.id === methods.writeTreeState.id) {
          return tree.read(method, request)
        }
        return (await this.#answer(method.id, request as ResolveRequest & GetInodeRequest)) as R
      },
      mutate: async <Q, R>(_method: Method<Q, R>, _request: Omit<Q, 'operation'>): Promise<R> =>
        ({ inode: inodeOf(FILE, this.version) }) as R,
      // The server counted it when it answered.
      held: () => undefined,
      heldUntold: () => undefined,
      tellHolds: async () => undefined,
      release: () => void this.holds--,
      close: async () => undefined,
    }
  }

  /** Another device's checkpoint. */
  async checkpoint(bound: number): Promise<void> {
    const session = this.tree.session(key, 2)
    const keeper = await TreeKeeper.open({ session, log: silent, memory: undefined })
    const changes = new Changes()
    changes.raise(FILE, bound)
    while (!(await keeper.checkpoint(changes)));
  }

  async #answer(method: number, { hold }: { hold: boolean }): Promise<object> {
    this.requests++
    const inode = inodeOf(FILE, this.version)
    if (hold) this.holds++
    await this.whileAnswering()
    if (method === methods.getInode.id) return { inode, parent: undefined }
    return { base: inodeOf(ROOT, 1), entries: [{ entry: NO_BYTES, inode }] }
  }
}

/** A request beside those under way learns of the newest state, as after a change of the lease. */
async function learn(server: OneFile, fresh: FreshSession): Promise<void> {
  const { whileAnswering } = server
  server.whileAnswering = async () => undefined
  server.lease.granted(++server.leases)
  await fresh.read(methods.getInode, byNumber)
  server.whileAnswering = whileAnswering
}

const byName = { base: ROOT, tokens: new Uint8Array(32), hold: true }
const byNumber = { inode: FILE, hold: false }

t.test('an inode below its bound is given on with a mark, one that is not without', async (t) => {
  const server = new OneFile()
  await server.checkpoint(3)
  const fresh = await FreshSession.open({ session: server.session(), log: silent })
  server.version = 2
  const { base, entries } = await fresh.read(methods.resolve, { ...byName, hold: false })
  t.equal(fresh.condemned(base), undefined)
  const [entry] = entries
  t.match(entry && fresh.condemned(entry.inode), /version 2, and 3 was there/)
  server.version = 3
  const { inode } = await fresh.read(methods.getInode, byNumber)
  t.equal(fresh.condemned(inode), undefined)
  t.equal(server.requests, 2, 'each was asked for once')
})

t.test('an answer that a newer state overtook is asked for again', async (t) => {
  const server = new OneFile()
  const fresh = await FreshSession.open({ session: server.session(), log: silent })
  await server.checkpoint(1)
  server.whileAnswering = async () => {
    server.whileAnswering = async () => undefined
    server.version = 2
    await server.checkpoint(2)
    await learn(server, fresh)
  }
  const response = await fresh.read(methods.resolve, byName)
  const [entry] = response.entries
  t.equal(entry?.inode.attributes.version, 2)
  t.equal(entry && fresh.condemned(entry.inode), undefined)
  t.equal(server.holds, 1, 'held once, by the answer that counts')
})

t.test('a server cannot pass old inodes off as late for ever', async (t) => {
  const server = new OneFile()
  const fresh = await FreshSession.open({ session: server.session(), log: silent })
  let bound = 1
  server.whileAnswering = async () => {
    await server.checkpoint(++bound)
    await learn(server, fresh)
  }
  const { inode } = await fresh.read(methods.getInode, byNumber)
  t.match(fresh.condemned(inode), /version 1/)
  t.ok(server.requests < 20, `${server.requests} requests`)
})

t.test(
  'a removed inode: refused by name, stale by number, and good while it is open',
  async (t) => {
    const server = new OneFile()
    const fresh = await FreshSession.open({ session: server.session(), log: silent })
    await fresh.read(methods.resolve, byName)
    fresh.held(FILE)
    await server.checkpoint(DEAD)
    server.lease.granted(1)
    const { inode } = await fresh.read(methods.getInode, byNumber)
    t.equal(fresh.condemned(inode), undefined, 'it is held open')
    const { entries } = await fresh.read(methods.resolve, { ...byName, hold: false })
    t.match(entries[0] && fresh.condemned(entries[0].inode), /was removed/)
    fresh.release(FILE)
    await t.rejects(fresh.read(methods.getInode, byNumber), { code: 'staleInode' })
  },
)

t.test('once the tree went back nothing passes, and the lease is not trusted', async (t) => {
  const server = new OneFile()
  await server.checkpoint(1)
  const old = server.tree.copy()
  await server.checkpoint(2)
  const fresh = await FreshSession.open({ session: server.session(), log: silent })
  server.lease.granted(1)
  t.equal(fresh.lease.term?.id, 1)
  server.tree.stored = old
  const rolledBack = { code: 'rolledBack' }
  await t.rejects(fresh.read(methods.getInode, byNumber), rolledBack)
  await t.rejects(fresh.read(methods.statfs, {}), rolledBack)
  await t.rejects(fresh.mutate(methods.commit, commitOf(3)), rolledBack)
  t.throws(() => fresh.requireTree(), rolledBack)
  t.equal(fresh.lease.term, undefined)
  t.equal(fresh.lease.fresh, undefined)
})

const commitOf = (version: number) => ({
  inode: FILE,
  attributes: attributes(1, { version }),
  truncates: false,
  truncateTo: 0,
  windows: [],
  chunks: [],
  inline: NO_BYTES,
})

/** What a fresh look at the server's tree says. */
async function boundAtServer(server: OneFile): Promise<number | undefined> {
  const session = server.tree.session(key, 3)
  const keeper = await TreeKeeper.open({ session, log: silent, memory: undefined })
  await keeper.fetch([FILE])
  return keeper.bound(FILE)
}

t.test('changes are in a checkpoint on a recall, at the end, and soon in any case', async (t) => {
  const server = new OneFile()
  const fresh = await FreshSession.open({ session: server.session(), log: silent })
  let sent = false
  fresh.lease.onRecall(async () => {
    await fresh.mutate(methods.commit, commitOf(4))
    sent = true
  })
  server.lease.granted(1)
  await fresh.mutate(methods.commit, commitOf(3))
  t.equal(await boundAtServer(server), 0, 'not at once')
  await server.lease.recalled(1)
  t.ok(sent)
  t.equal(await boundAtServer(server), 4, 'with what the recall sent')
  t.equal(server.tree.writes, 1)

  await fresh.mutate(methods.commit, commitOf(5))
  fresh.removed(FILE + 1)
  await new Promise((resolve) => setTimeout(resolve, LATER_MS))
  t.equal(await boundAtServer(server), 5, 'a moment later')
  t.equal(server.tree.writes, 2, 'both in one')

  await fresh.mutate(methods.commit, commitOf(6))
  await fresh.close()
  t.equal(await boundAtServer(server), 6)
  await fresh.close()
  t.equal(server.tree.writes, 3, 'nothing more')
})
