/**
 * The inodes that the kernel knows: the way to each, and that none is kept that nobody needs. Held against a
 * model that keeps plain lists.
 */
import { constants } from 'node:fs'
import * as fc from 'fast-check'
import t from 'tap'
import { NodeTable, type Node } from '../../../../mount/fuse/node-table.ts'
import type { Stat } from '../../../../mount/vfs/api.ts'
import { present } from '../../../support/present.ts'

const ROOT_INODE = 900
const { S_IFDIR, S_IFREG } = constants

function stat(inode: number, type = S_IFREG, hasXattrs = false): Stat {
  const times = { atime: 0n, mtime: 0n, ctime: 0n }
  const owner = { uid: 0, gid: 0 }
  const sizes = { size: 0, blocks: 0 }
  const kind = { mode: type | 0o644, rdev: 0, hasXattrs }
  return { inode, nlink: 1, ...kind, ...owner, ...sizes, ...times }
}

function table(): { nodes: NodeTable; root: Node } {
  const nodes = new NodeTable(stat(ROOT_INODE, S_IFDIR))
  return { nodes, root: present(nodes.get(1)) }
}

t.test('the root has the number that the kernel gave it, and is never forgotten', async (t) => {
  const { nodes, root } = table()
  t.equal(root.path, '/')
  t.equal(root.childPath('a'), '/a')
  t.equal(nodes.ofInode(ROOT_INODE), root)
  nodes.forget(1, 1)
  t.equal(nodes.get(1), root)
  const other = nodes.found(root, 'a', stat(1), 0)
  t.not(other, root, 'an inode of ours with that number')
  t.equal(other.id, ROOT_INODE)
  t.equal(nodes.ofInode(1), other)
})

t.test('an inode is plain as it was told last, until it is changed here', async (t) => {
  const { nodes, root } = table()
  t.notOk(nodes.isPlain(root), 'nothing was told yet')
  const node = nodes.found(root, 'a', stat(2), nodes.now)
  t.ok(nodes.isPlain(node))
  nodes.told(node, stat(2, S_IFREG, true), nodes.now)
  t.notOk(nodes.isPlain(node), 'it has extended attributes')
  nodes.told(node, stat(2), nodes.now)
  const before = nodes.now
  nodes.touch(node)
  t.notOk(nodes.isPlain(node), 'a change is under way')
  nodes.told(node, stat(2), before)
  t.notOk(nodes.isPlain(node), 'what was read before the change')
  nodes.told(node, stat(2), nodes.now)
  t.ok(nodes.isPlain(node))
  nodes.touch(node)
  nodes.forget(2, 1)
  t.notOk(nodes.isPlain(nodes.found(root, 'a', stat(2), before)), 'changed and forgotten since')
})

t.test('a moved directory takes along what is below', async (t) => {
  const { nodes, root } = table()
  const a = nodes.found(root, 'a', stat(2, S_IFDIR), 0)
  const b = nodes.found(root, 'b', stat(3, S_IFDIR), 0)
  const file = nodes.found(a, 'f', stat(4), 0)
  nodes.renamed({ parent: root, name: 'a' }, { parent: b, name: 'c' })
  t.equal(file.path, '/b/c/f')
  t.equal(a.childPath('g'), '/b/c/g')
})

t.test('what a rename replaces has no name any more', async (t) => {
  const { nodes, root } = table()
  const one = nodes.found(root, 'one', stat(2), 0)
  const two = nodes.found(root, 'two', stat(3), 0)
  nodes.renamed({ parent: root, name: 'one' }, { parent: root, name: 'two' })
  t.equal(one.path, '/two')
  t.equal(two.path, undefined)
  t.equal(String(two), 'inode 3')
  nodes.renamed({ parent: root, name: 'unknown' }, { parent: root, name: 'two' })
  t.equal(one.path, undefined, 'by one that was never looked up, too')
})

t.test('of several names the one found last leads to an inode', async (t) => {
  const { nodes, root } = table()
  const node = nodes.found(root, 'a', stat(2), 0)
  nodes.found(root, 'b', stat(2), 0)
  t.equal(node.path, '/b')
  nodes.found(root, 'a', stat(2), 0)
  t.equal(node.path, '/a')
  nodes.removed(root, 'a')
  t.equal(node.path, '/b')
  nodes.removed(root, 'b')
  t.equal(node.path, undefined)
})

t.test('a name that stands for another inode by now leads to that', async (t) => {
  const { nodes, root } = table()
  const before = nodes.found(root, 'a', stat(2), 0)
  const now = nodes.found(root, 'a', stat(3), 0)
  t.equal(before.path, undefined)
  t.equal(now.path, '/a')
})

t.test('names learnt at different times that lead in a circle are no path', async (t) => {
  const { nodes, root } = table()
  const a = nodes.found(root, 'a', stat(2, S_IFDIR), 0)
  const b = nodes.found(a, 'b', stat(3, S_IFDIR), 0)
  nodes.found(b, 'a', stat(2, S_IFDIR), 0)
  t.equal(a.path, undefined)
  t.equal(b.childPath('c'), undefined)
})

t.test('a node lives as long as it is open, and is written while a handle can', async (t) => {
  const { nodes, root } = table()
  const node = nodes.found(root, 'a', stat(2), 0)
  nodes.opened(node, 10, true)
  nodes.opened(node, 11, false)
  t.equal(node.handle, 11)
  t.equal(node.isWritten, true)
  nodes.forget(2, 1)
  nodes.released(2, 10)
  t.equal(nodes.get(2), node)
  t.equal(node.isWritten, false)
  nodes.released(2, 11)
  t.equal(nodes.get(2), undefined)
  t.equal(nodes.size, 1)
})

t.test('what was read before a change is not told as if it held', async (t) => {
  const { nodes, root } = table()
  const node = nodes.found(root, 'a', stat(2), 0)
  nodes.touch(node)
  const moment = nodes.now
  t.ok(nodes.unchangedSince(moment, 2))
  t.ok(nodes.unchangedSince(moment, 99), 'of an inode that the kernel does not know')
  nodes.opened(node, 10, false)
  t.notOk(nodes.unchangedSince(moment, 2), 'while it is open')
  nodes.released(2, 10)
  nodes.touch(node)
  t.notOk(nodes.unchangedSince(moment, 2))
  t.ok(nodes.unchangedSince(nodes.now, 2))
  nodes.forget(2, 1)
  t.notOk(nodes.unchangedSince(moment, 2), 'nor when the node that knew it is forgotten')
  nodes.touch(undefined)
})

type Step =
  | {
      readonly kind: 'found'
      readonly parent: number
      readonly name: string
      readonly inode: number
    }
  | { readonly kind: 'forget'; readonly inode: number }
  | { readonly kind: 'removed'; readonly parent: number; readonly name: string }
  | { readonly kind: 'renamed'; readonly from: Key; readonly to: Key }
  | { readonly kind: 'opened' | 'released'; readonly inode: number }

interface Key {
  readonly parent: number
  readonly name: string
}

/** Inodes below this are directories; one is found only in one with a smaller number, so never in a circle. */
const DIRECTORIES = 6
const INODES = 12
const inode = fc.integer({ min: 2, max: INODES })
const directory = fc.integer({ min: 1, max: DIRECTORIES - 1 })
const name = fc.constantFrom('a', 'b', 'c')
const key = fc.record({ parent: directory, name })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('found'), parent: directory, name, inode }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('forget'), inode }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('removed'), parent: directory, name }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('renamed'), from: key, to: key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('opened', 'released'), inode }) },
)

/** The same with lists that are searched: names in the order in which they were found. */
class Model {
  names: (Key & { readonly inode: number })[] = []
  readonly lookups = new Map<number, number>()
  readonly open = new Set<number>()

  at({ parent, name: wanted }: Key): number | undefined {
    return this.names.find((known) => known.parent === parent && known.name === wanted)?.inode
  }

  isKnown(node: number): boolean {
    const isParent = this.names.some(({ parent }) => parent === node)
    return node === 1 || isParent || (this.lookups.get(node) ?? 0) > 0 || this.open.has(node)
  }

  remove({ parent, name: gone }: Key): void {
    this.names = this.names.filter((known) => known.parent !== parent || known.name !== gone)
  }

  path(node: number): string | undefined {
    if (node === 1) return ''
    const newest = this.names.findLast((known) => known.inode === node)
    const above = newest === undefined ? undefined : this.path(newest.parent)
    return above === undefined ? undefined : `${above}/${newest?.name ?? ''}`
  }

  /** Names of what nobody needs go, until there are none. */
  settle(): void {
    for (;;) {
      const left = this.names.filter((known) => this.isKnown(known.inode))
      if (left.length === this.names.length) return
      this.names = left
    }
  }
}

function apply(nodes: NodeTable, model: Model, next: Step): void {
  const node = (id: number): Node => present(nodes.get(id))
  switch (next.kind) {
    case 'found':
      if (!model.isKnown(next.parent) || next.inode <= next.parent) return
      nodes.found(node(next.parent), next.name, stat(next.inode, typeOf(next.inode)), 0)
      model.remove(next)
      model.names.push(next)
      model.lookups.set(next.inode, (model.lookups.get(next.inode) ?? 0) + 1)
      break
    case 'forget':
      nodes.forget(next.inode, model.lookups.get(next.inode) ?? 0)
      model.lookups.delete(next.inode)
      break
    case 'removed':
      if (!model.isKnown(next.parent)) return
      nodes.removed(node(next.parent), next.name)
      model.remove(next)
      break
    case 'renamed': {
      const { from, to } = next
      const moved = model.at(from)
      const isSame = moved !== undefined && moved === model.at(to)
      if (!model.isKnown(from.parent) || !model.isKnown(to.parent) || isSame) return
      if (moved !== undefined && moved <= to.parent) return
      nodes.renamed(
        { parent: node(from.parent), name: from.name },
        { parent: node(to.parent), name: to.name },
      )
      model.remove(from)
      model.remove(to)
      if (moved !== undefined) model.names.push({ ...to, inode: moved })
      break
    }
    case 'opened':
      if (!model.isKnown(next.inode) || model.open.has(next.inode)) return
      nodes.opened(node(next.inode), next.inode * 10, true)
      model.open.add(next.inode)
      break
    case 'released':
      nodes.released(next.inode, next.inode * 10)
      model.open.delete(next.inode)
  }
  model.settle()
}

function typeOf(known: number): number {
  return known < DIRECTORIES ? S_IFDIR : S_IFREG
}

t.test('in any order of things, the table knows what the model knows', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { nodes } = table()
      const model = new Model()
      for (const next of steps) {
        apply(nodes, model, next)
        for (let id = 2; id <= INODES; id++) {
          const known = nodes.get(id)
          if ((known !== undefined) !== model.isKnown(id)) return false
          if (known !== undefined && known.path !== model.path(id)) return false
        }
      }
      for (let id = 2; id <= INODES; id++) {
        apply(nodes, model, { kind: 'forget', inode: id })
        apply(nodes, model, { kind: 'released', inode: id })
      }
      return nodes.size === 1 && nodes.get(1)?.children === undefined
    }),
    { numRuns: 2_000 },
  )
  t.pass('2,000 walks')
})
