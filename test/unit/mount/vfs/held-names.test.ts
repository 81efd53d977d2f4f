/**
 * Opening a file in the moment in which it loses its name: it is open and kept, or it is not there.
 */
import t from 'tap'
import type { MetadataSession } from '../../../../mount/client/api.ts'
import { LeaseTerm } from '../../../../mount/client/lease.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { DentryCache } from '../../../../mount/vfs/dentry-cache.ts'
import { InodeVerifier } from '../../../../mount/vfs/inode-verifier.ts'
import { ABSENT, LeasedTree } from '../../../../mount/vfs/leased-tree.ts'
import { KIND } from '../../../../mount/vfs/stat.ts'
import { Tree } from '../../../../mount/vfs/tree.ts'
import type { Method } from '../../../../schema/rpc/api.ts'
import { DfsError } from '../../../../schema/wire/status.ts'
import { MemoryLog } from '../../../support/fuse-mount.ts'
import { inodeWith, sealedAttributes } from '../../../support/inodes.ts'

const ROOT = 1
const FILE = 7

/** A tree of one file that is known under the lease, at a server that answers as `answer` says. */
function leasedTree(answer: (method: string) => unknown) {
  const term = new LeaseTerm(3)
  const leased = new LeasedTree({ term, fresh: term })
  const rootKey = InodeKey.generate()
  const key = InodeKey.generate()
  const held: number[] = []
  const session = {
    rootInode: ROOT,
    rootKey,
    async read<Q, R>(method: Method<Q, R>): Promise<R> {
      return Promise.resolve(answer(method.name) as R)
    },
    held: (inode: number) => held.push(inode),
    heldUntold: (inode: number) => held.push(inode),
  } as unknown as MetadataSession
  const context = { session, verifier: new InodeVerifier(new MemoryLog()), leased }
  const tree = new Tree(context, new DentryCache(), {
    settle: async () => undefined,
    learn: async () => undefined,
  })
  const { token, entry } = rootKey.sealEntry('f', { kind: KIND.file, key })
  const dentry = { token, entry, kind: KIND.file, inode: FILE, key }
  leased.learnInode(leased.ask(), inodeWith(ROOT, sealedAttributes(rootKey, { kind: 2 })))
  leased.made(ROOT, 'f', dentry, inodeWith(FILE, sealedAttributes(key, { kind: KIND.file })))
  return { tree, leased, held }
}

t.test('a file is held in the moment in which it is found', async (t) => {
  const { tree, held } = leasedTree(() => t.fail('the server was asked'))
  const opening = tree.resolve('/f', true)
  // Whoever decides next, in the same turn, that nobody has it open must see this.
  t.same(held, [FILE])
  t.equal((await opening).inode.inode, FILE)
  t.same(held, [FILE])
})

t.test('a file that went before the server held it is not there', async (t) => {
  const { tree, leased, held } = leasedTree((method) => {
    t.equal(method, 'getInode')
    change.name(ROOT, 'f', ABSENT)
    change.end()
    throw new DfsError('staleInode', 'removed')
  })
  const change = leased.change([[ROOT, 'f']], [FILE])
  await t.rejects(tree.resolve('/f', true), { code: 'notFound' })
  t.same(held, [])
})
