/**
 * Reading ahead from file to file: when, how far, and for whom not.
 */
import t from 'tap'
import { LeaseTerm } from '../../../../mount/client/lease.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { LeasedTree } from '../../../../mount/vfs/leased-tree.ts'
import { SiblingReadAhead } from '../../../../mount/vfs/sibling-read-ahead.ts'
import { KIND } from '../../../../mount/vfs/stat.ts'
import type { Found } from '../../../../mount/vfs/tree.ts'
import { inodeWith, sealedAttributes } from '../../../support/inodes.ts'
import { MemoryLog } from '../../../support/fuse-mount.ts'

const key = InodeKey.generate()
const NO_BYTES = Buffer.alloc(0)

/** Directories by number; their files are numbered from a thousand times that, and named by number. */
function start(files: number, size = 10_000, inline = NO_BYTES) {
  const term = new LeaseTerm(1)
  const leased = new LeasedTree({ term, fresh: term })
  const fetched: number[] = []
  const known = new Set<number>()
  const fails = new Set<number>()
  const ahead = new SiblingReadAhead(
    { leased, log: new MemoryLog() },
    { knownDirectoryOf: (path) => Number(path.split('/')[1]) },
    {
      isKnown: (inode) => known.has(inode),
      readAhead: async ({ inode }) => {
        fetched.push(inode.inode)
        if (fails.has(inode.inode)) throw new Error('cannot be read')
      },
    },
  )
  const found = (number: number): Found => ({
    inode: { ...inodeWith(number, sealedAttributes(key, { size })), inline },
    key,
  })
  const list = (directory: number): void => {
    const names = new Set<string>()
    for (let file = 0; file < files; file++) {
      const number = directory * 1_000 + file
      const dentry = { token: NO_BYTES, entry: NO_BYTES, kind: KIND.file, inode: number, key }
      leased.learnName(leased.ask(), directory, String(file), dentry)
      leased.learnInode(leased.ask(), found(number).inode)
      names.add(String(file))
    }
    leased.learnNames(leased.ask(), directory, names)
  }
  const open = async (directory: number, file: number): Promise<void> => {
    const number = directory * 1_000 + file
    known.add(number)
    ahead.opened(found(number), `/${directory}/${file}`)
    await new Promise(setImmediate)
  }
  return { list, open, fetched, known, fails }
}

t.test('the second small file of a directory has the next ones fetched', async (t) => {
  const { list, open, fetched } = start(100)
  list(1)
  await open(1, 0)
  t.same(fetched, [])
  await open(1, 1)
  t.same(
    fetched,
    Array.from({ length: 16 }, (_, at) => 1_002 + at),
  )
  for (let file = 2; file < 100; file++) await open(1, file)
  t.equal(new Set(fetched).size, fetched.length, 'each once')
  t.equal(fetched.length, 98, 'all of them in the end')
})

t.test('who reads others than those that were fetched gets no more', async (t) => {
  const { list, open, fetched } = start(200)
  list(1)
  for (let file = 199; file > 100; file--) await open(1, file)
  t.equal(fetched.length, 16)
})

t.test('when it was of use it begins with the first file of the next directory', async (t) => {
  const { list, open, fetched } = start(60)
  list(1)
  list(2)
  for (let file = 0; file < 60; file++) await open(1, file)
  const before = fetched.length
  await open(2, 0)
  t.equal(fetched.length, before + 16)
})

t.test('what is large, empty, in its inode, known or not listed is left alone', async (t) => {
  const cases = [start(50, 200_000), start(50, 0), start(50, 100, Buffer.alloc(150))]
  for (const { list, open, fetched } of cases) {
    list(1)
    for (let file = 0; file < 4; file++) await open(1, file)
    t.same(fetched, [])
  }
  const unlisted = start(50)
  for (let file = 0; file < 4; file++) await unlisted.open(1, file)
  t.same(unlisted.fetched, [])
  const some = start(6)
  some.list(1)
  some.known.add(1_003)
  await some.open(1, 0)
  await some.open(1, 1)
  t.same(some.fetched, [1_002, 1_004, 1_005])
})

t.test('a failure is for whoever wants the file', async (t) => {
  const { list, open, fetched, fails } = start(6)
  list(1)
  fails.add(1_002)
  await open(1, 0)
  await open(1, 1)
  t.equal(fetched.length, 4)
})
