/**
 * What is known of a tree under its lease: answers are kept only as long as they are sure to be true.
 */
import fc from 'fast-check'
import t from 'tap'
import { LeaseTerm } from '../../../../mount/client/lease.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import type { Dentry } from '../../../../mount/vfs/dentry-cache.ts'
import { ABSENT, LeasedTree, type Change } from '../../../../mount/vfs/leased-tree.ts'
import type { Inode } from '../../../../schema/generated/common.ts'
import { inodeWith, sealedAttributes } from '../../../support/inodes.ts'

const key = InodeKey.generate()

function dentry(number: number): Dentry {
  return { token: Buffer.alloc(32), entry: Buffer.alloc(60), kind: 1, inode: number, key }
}

const inode = (number: number, version = 1): Inode =>
  inodeWith(number, sealedAttributes(key, { version }))

interface Held {
  term: LeaseTerm | undefined
  fresh: LeaseTerm | undefined
}

function start(): { tree: LeasedTree; lease: Held } {
  const term = new LeaseTerm(1)
  const lease: Held = { term, fresh: term }
  return { tree: new LeasedTree(lease), lease }
}

t.test('nothing is known without the lease, or after it', async (t) => {
  const { tree, lease } = start()
  tree.learnName(tree.ask(), 1, 'a', dentry(2))
  tree.learnInode(tree.ask(), inode(2))
  t.match(tree.lookup(1, 'a'), { inode: 2 })
  t.equal(tree.inode(2)?.inode, 2)
  lease.fresh = undefined
  t.equal(tree.lookup(1, 'a'), undefined, 'the server was not heard from')
  lease.fresh = lease.term
  t.match(tree.lookup(1, 'a'), { inode: 2 })
  const before = tree.ask()
  lease.term = lease.fresh = new LeaseTerm(2)
  t.equal(tree.lookup(1, 'a'), undefined, 'another time of holding it')
  tree.learnName(before, 1, 'a', dentry(2))
  t.equal(tree.lookup(1, 'a'), undefined, 'an answer asked for before it')
})

t.test('an answer that a change overtook is not kept', async (t) => {
  const { tree } = start()
  const asked = tree.ask()
  const change = tree.change([[1, 'a']], [1, 2])
  change.name(1, 'a', ABSENT)
  change.end()
  tree.learnName(asked, 1, 'a', dentry(2))
  tree.learnInode(asked, inode(2))
  tree.learnNames(asked, 1, new Set(['a']))
  t.equal(tree.lookup(1, 'a'), ABSENT)
  t.equal(tree.inode(2), undefined)
  t.equal(tree.names(1), undefined)
})

t.test('a directory that is known whole says what does not exist', async (t) => {
  const { tree } = start()
  t.equal(tree.lookup(1, 'b'), undefined)
  tree.learnNames(tree.ask(), 1, new Set(['a']))
  t.equal(tree.lookup(1, 'b'), ABSENT)
  t.equal(tree.lookup(1, 'a'), undefined, 'it exists, and must be asked for')
  const change = tree.change([[1, 'b']], [1])
  change.name(1, 'b', dentry(3))
  change.end()
  t.same(tree.names(1), new Set(['a', 'b']))
  tree.change([[1, 'c']], [1]).end()
  t.equal(tree.names(1), undefined, 'a change that failed leaves the name unknown')
  t.equal(tree.lookup(1, 'd'), undefined)
})

t.test('changes that overlap leave unknown what both change', async (t) => {
  const { tree } = start()
  const one = tree.change([[1, 'a']], [1, 5])
  const two = tree.change([[1, 'b']], [1, 6])
  for (const [change, name, number] of [
    [two, 'b', 6],
    [one, 'a', 5],
  ] as const) {
    change.name(1, name, dentry(number))
    change.inode(inode(1))
    change.inode(inode(number))
    change.end()
  }
  t.match(tree.lookup(1, 'a'), { inode: 5 })
  t.match(tree.lookup(1, 'b'), { inode: 6 })
  t.equal(tree.inode(1), undefined)
  t.equal(tree.inode(5)?.inode, 5)
})

/** Requests under way over a server that is a map of names; answers come in any order. */
type Step =
  | { readonly kind: 'ask' | 'change' | 'list'; readonly name: string; readonly late: number }
  | { readonly kind: 'turn' }

t.test('what is known is what the server has, however requests overlap', async () => {
  const name = fc.constantFrom('a', 'b', 'c')
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({
      kind: fc.constantFrom('ask' as const, 'change' as const, 'list' as const),
      name,
      late: fc.nat(4),
    }),
    fc.constant({ kind: 'turn' as const }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { tree } = start()
      const server = new Map<string, Dentry>()
      const due: { at: number; run: () => void }[] = []
      const changing = new Map<string, number>()
      let now = 0
      let next = 10
      const turn = (): void => {
        now++
        for (const each of due.splice(0)) {
          if (each.at <= now) each.run()
          else due.push(each)
        }
      }
      for (const each of steps) {
        if (each.kind === 'turn') turn()
        else begin(each)
        for (const asked of ['a', 'b', 'c']) {
          const known = tree.lookup(1, asked)
          // While a change is under way, before and after are both right.
          if (known === undefined || (changing.get(asked) ?? 0) > 0) continue
          if (known !== (server.get(asked) ?? ABSENT)) return false
        }
      }
      return true

      function begin({ kind, name: on, late }: Exclude<Step, { kind: 'turn' }>): void {
        if (kind === 'change') {
          changing.set(on, (changing.get(on) ?? 0) + 1)
          beginChange(tree.change([[1, on]], [1]), on, late)
          return
        }
        const asked = tree.ask()
        // The server decides at once or later, and the answer is under way for a while.
        later(late % 2, () => {
          const there = server.get(on) ?? ABSENT
          const names = new Set(server.keys())
          later(late, () => {
            if (kind === 'ask') tree.learnName(asked, 1, on, there)
            else tree.learnNames(asked, 1, names)
          })
        })
      }

      function beginChange(change: Change, on: string, late: number): void {
        later(late % 3, () => {
          const after = server.has(on) ? ABSENT : dentry(next++)
          if (after === ABSENT) server.delete(on)
          else server.set(on, after)
          later(late, () => {
            change.name(1, on, after)
            change.end()
            changing.set(on, (changing.get(on) ?? 1) - 1)
          })
        })
      }

      function later(turns: number, run: () => void): void {
        if (turns === 0) run()
        else due.push({ at: now + turns, run })
      }
    }),
    { numRuns: 100 },
  )
})
