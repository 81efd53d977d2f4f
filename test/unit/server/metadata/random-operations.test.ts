/**
 * Random sequences of operations against a tree in a few maps: the same answers, the same tree; and
 * a store in which everything that is kept twice agrees. Then the same operations all at once, where
 * only the last is asked for.
 */
import * as fc from 'fast-check'
import t from 'tap'
import type { Extent } from '../../../../schema/generated/common.ts'
import { NO_PATCH, windowDigest } from '../../../../schema/wire/content.ts'
import { coveredBytes, overlay, truncate } from '../../../../schema/wire/extents.ts'
import { DfsError } from '../../../../schema/wire/status.ts'
import { commit } from '../../../../server/metadata/operations/commit.ts'
import { getInode } from '../../../../server/metadata/operations/get-inode.ts'
import { link } from '../../../../server/metadata/operations/link.ts'
import { list } from '../../../../server/metadata/operations/list.ts'
import { readWindows } from '../../../../server/metadata/operations/read-windows.ts'
import { rename } from '../../../../server/metadata/operations/rename.ts'
import { unlink } from '../../../../server/metadata/operations/unlink.ts'
import {
  attributes,
  entry,
  NO_BYTES,
  TestMetadata,
  token,
  type TestSession,
} from '../../../support/metadata.ts'
import { checkStore } from '../../../support/metadata-check.ts'

const RUNS = 25
const NAMES = ['a', 'b', 'c', 'd']
const FILE_BYTES = 1_000

interface Step {
  readonly what: 'file' | 'directory' | 'unlink' | 'rmdir' | 'rename' | 'link' | 'write' | 'cut'
  /** Which of the inodes known so far. */
  readonly at: number
  readonly to: number
  readonly name: string
  readonly newName: string
  readonly offset: number
  readonly length: number
}

const steps = fc.array(
  fc.record<Step>({
    what: fc.constantFrom(
      'file',
      'file',
      'directory',
      'unlink',
      'rmdir',
      'rename',
      'rename',
      'link',
      'write',
      'write',
      'cut',
    ),
    at: fc.nat(),
    to: fc.nat(),
    name: fc.constantFrom(...NAMES),
    newName: fc.constantFrom(...NAMES),
    offset: fc.nat(FILE_BYTES - 1),
    length: fc.integer({ min: 1, max: FILE_BYTES }),
  }),
  { maxLength: 60 },
)

interface Node {
  readonly directory: boolean
  readonly entries: Map<string, number>
  parent: number
  names: number
  extents: Extent[]
  version: number
  size: number
}

/** What the tree should be. Each method returns the refusal it expects, or undefined. */
class Model {
  readonly nodes = new Map<number, Node>()
  readonly known: number[] = []

  constructor(root: number) {
    this.add(root, true, root)
  }
  add(id: number, directory: boolean, parent: number): void {
    const node = {
      directory,
      entries: new Map(),
      parent,
      names: 1,
      extents: [],
      version: 1,
      size: 0,
    }
    this.nodes.set(id, node)
    this.known.push(id)
  }
  pick(n: number): number {
    return this.known[n % this.known.length] ?? 0
  }
  directory(id: number): string | undefined {
    const node = this.nodes.get(id)
    if (node === undefined) return 'staleInode'
    return node.directory ? undefined : 'notDirectory'
  }
  child(parent: number, name: string): number | undefined {
    return this.nodes.get(parent)?.entries.get(name)
  }
  put(parent: number, name: string, id: number): void {
    this.nodes.get(parent)?.entries.set(name, id)
  }
  drop(parent: number, name: string): void {
    const id = this.child(parent, name)
    this.nodes.get(parent)?.entries.delete(name)
    const node = id === undefined ? undefined : this.nodes.get(id)
    if (node === undefined || id === undefined) return
    node.names--
    if (node.names === 0) this.nodes.delete(id)
  }
  below(id: number, ancestor: number): boolean {
    for (let at = id; ;) {
      if (at === ancestor) return true
      const parent = this.nodes.get(at)?.parent
      if (parent === undefined || parent === at) return false
      at = parent
    }
  }
}

const codeOf = (error: unknown): string => (error instanceof DfsError ? error.code : String(error))

class Run {
  readonly model: Model
  readonly #session: TestSession

  constructor(session: TestSession, root: number) {
    this.#session = session
    this.model = new Model(root)
  }

  /** Does a step both ways; returns what differs. */
  async step(step: Step): Promise<string | undefined> {
    const expected = this.expect(step)
    const actual = await this.act(step).catch(codeOf)
    const refusal = typeof actual === 'string' ? actual : undefined
    if (refusal !== expected) return `${step.what}: ${refusal}, should be ${expected}`
    if (refusal === undefined) this.apply(step, Number(actual))
    return undefined
  }

  expect({ what, at, to, name, newName }: Step): string | undefined {
    const { model } = this
    const id = model.pick(at)
    const target = model.pick(to)
    const node = model.nodes.get(id)
    switch (what) {
      case 'file':
      case 'directory':
        return model.directory(id) ?? (model.child(id, name) === undefined ? undefined : 'exists')
      case 'unlink':
      case 'rmdir':
        return model.directory(id) ?? this.#expectRemoval(model.child(id, name), what === 'rmdir')
      case 'link':
        return (
          model.directory(target) ??
          (node === undefined ? 'staleInode' : node.directory ? 'notPermitted' : undefined) ??
          (model.child(target, name) === undefined ? undefined : 'exists')
        )
      case 'rename':
        return (
          model.directory(id) ??
          model.directory(target) ??
          this.#expectMove(model.child(id, name), target, model.child(target, newName), id)
        )
      default:
        return node === undefined ? 'staleInode' : node.directory ? 'invalidArgument' : undefined
    }
  }

  #expectRemoval(child: number | undefined, directory: boolean): string | undefined {
    const node = child === undefined ? undefined : this.model.nodes.get(child)
    if (node === undefined) return 'notFound'
    if (directory && !node.directory) return 'notDirectory'
    if (!directory && node.directory) return 'isDirectory'
    return node.entries.size > 0 ? 'notEmpty' : undefined
  }

  #expectMove(
    source: number | undefined,
    to: number,
    target: number | undefined,
    from: number,
  ): string | undefined {
    const moved = source === undefined ? undefined : this.model.nodes.get(source)
    if (moved === undefined || source === undefined) return 'notFound'
    if (target === source) return undefined
    const replaced = target === undefined ? undefined : this.model.nodes.get(target)
    if (replaced !== undefined) {
      if (moved.directory && !replaced.directory) return 'notDirectory'
      if (!moved.directory && replaced.directory) return 'isDirectory'
      if (replaced.entries.size > 0) return 'notEmpty'
    }
    return moved.directory && from !== to && this.model.below(to, source) ? 'wouldLoop' : undefined
  }

  async act({ what, at, to, name, newName, offset, length }: Step): Promise<number | void> {
    const { model } = this
    const session = this.#session
    const id = model.pick(at)
    const target = model.pick(to)
    switch (what) {
      case 'file':
        return session.make(id, name)
      case 'directory':
        return session.makeDirectory(id, name)
      case 'unlink':
      case 'rmdir':
        await session.mutate(unlink, {
          parent: id,
          token: token(name),
          directory: what === 'rmdir',
        })
        return
      case 'link':
        await session.mutate(link, {
          inode: id,
          parent: target,
          token: token(name),
          entry: entry(name),
        })
        return
      case 'rename':
        await session.mutate(rename, {
          fromParent: id,
          fromToken: token(name),
          toParent: target,
          toToken: token(newName),
          entry: entry(newName),
          noReplace: false,
          inode: model.child(id, name) ?? 0,
        })
        return
      case 'write':
        return this.#write(id, offset, Math.min(length, FILE_BYTES - offset))
      case 'cut':
        return this.#cut(id, offset)
    }
  }

  async #write(id: number, offset: number, length: number): Promise<number> {
    const node = this.model.nodes.get(id)
    const chunk = await this.#session.chunk(length)
    const added = { chunk: chunk.chunk, offset, length, chunkOffset: 0 }
    const extents = overlay(node?.extents ?? [], [added])
    const size = Math.max(node?.size ?? 0, offset + length)
    await this.#session.mutate(commit, {
      inode: id,
      attributes: attributes(1, { size, version: (node?.version ?? 1) + 1 }),
      truncates: false,
      truncateTo: 0,
      windows: [{ index: 0, extents: [added], digest: windowDigest(extents), patch: NO_PATCH }],
      chunks: [chunk],
      inline: NO_BYTES,
    })
    return chunk.chunk
  }

  async #cut(id: number, size: number): Promise<void> {
    const node = this.model.nodes.get(id)
    const extents = truncate(node?.extents ?? [], size)
    await this.#session.mutate(commit, {
      inode: id,
      attributes: attributes(1, { size, version: (node?.version ?? 1) + 1 }),
      truncates: true,
      truncateTo: size,
      windows: [{ index: 0, extents: [], digest: windowDigest(extents), patch: NO_PATCH }],
      chunks: [],
      inline: NO_BYTES,
    })
  }

  apply({ what, at, to, name, newName, offset, length }: Step, answer: number): void {
    const { model } = this
    const id = model.pick(at)
    const target = model.pick(to)
    const node = model.nodes.get(id)
    switch (what) {
      case 'file':
      case 'directory':
        model.put(id, name, answer)
        model.add(answer, what === 'directory', id)
        return
      case 'unlink':
      case 'rmdir':
        model.drop(id, name)
        return
      case 'link':
        if (node !== undefined) node.names++
        model.put(target, name, id)
        return
      case 'rename': {
        const source = model.child(id, name)
        const moved = source === undefined ? undefined : model.nodes.get(source)
        if (moved === undefined || source === undefined) return
        if (model.child(target, newName) === source) return
        model.drop(target, newName)
        model.nodes.get(id)?.entries.delete(name)
        model.put(target, newName, source)
        if (moved.directory) moved.parent = target
        return
      }
      case 'write': {
        if (node === undefined) return
        const bytes = Math.min(length, FILE_BYTES - offset)
        node.extents = overlay(node.extents, [
          { chunk: answer, offset, length: bytes, chunkOffset: 0 },
        ])
        node.size = Math.max(node.size, offset + bytes)
        node.version++
        return
      }
      case 'cut':
        if (node === undefined) return
        node.extents = truncate(node.extents, offset)
        node.size = offset
        node.version++
    }
  }

  /** Compares the whole tree; returns what differs. */
  async differences(): Promise<string[]> {
    const wrong: string[] = []
    for (const [id, node] of this.model.nodes) {
      const { inode } = await this.#session.query(getInode, { inode: id, hold: false })
      if (inode.allocatedBytes !== coveredBytes(node.extents)) wrong.push(`bytes of ${id}`)
      if (node.directory) {
        const page = await this.#session.query(list, { directory: id, after: NO_BYTES, limit: 99 })
        const found = page.entries.map(
          (e) => `${Buffer.from(e.token).toString('hex')} ${e.inode?.inode}`,
        )
        const expected = [...node.entries].map(
          ([name, child]) => `${Buffer.from(token(name)).toString('hex')} ${child}`,
        )
        if (new Set([...found, ...expected]).size !== expected.length)
          wrong.push(`entries of ${id}`)
        continue
      }
      if (inode.nlink !== node.names) wrong.push(`nlink of ${id}`)
      const read = await this.#session.query(readWindows, { inode: id, first: 0, count: 1 })
      const extents = read.windows[0]?.extents ?? []
      if (JSON.stringify(extents) !== JSON.stringify(node.extents)) wrong.push(`extents of ${id}`)
    }
    return wrong
  }
}

const metadata = await TestMetadata.open(t)
let users = 0
const anotherUser = async () => metadata.user(`user-${users++}`)

t.test('one after the other, the same as the model', async (t) => {
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const { user, session } = await anotherUser()
      const run = new Run(session, user.root)
      for (const step of all) {
        const wrong = await run.step(step)
        if (wrong !== undefined) throw new Error(wrong)
      }
      const wrong = await run.differences()
      if (wrong.length > 0) throw new Error(wrong.join(', '))
    }),
    { numRuns: RUNS },
  )
  t.same(await checkStore(metadata.store), [])
})

t.test('all at once, nothing is half done', async (t) => {
  await fc.assert(
    fc.asyncProperty(steps, steps, async (first, then) => {
      const { user, session } = await anotherUser()
      const run = new Run(session, user.root)
      for (const step of first) await run.step(step)
      const outcomes = await Promise.allSettled(then.map((step) => run.act(step)))
      for (const outcome of outcomes) {
        const failed = outcome.status === 'rejected' ? codeOf(outcome.reason) : 'ok'
        if (!/^[a-zA-Z]+$/u.test(failed)) throw new Error(failed)
      }
    }),
    { numRuns: RUNS },
  )
  await metadata.services.purger.stop()
  await metadata.services.database.settle()
  t.same(await checkStore(metadata.store), [])
})
