/**
 * The inodes that the kernel knows: under which names it found them, how often, and what is open. No I/O.
 *
 * The kernel names inodes by number and forgets them when it likes; our file system takes paths. So each
 * node keeps the names (dentries) that led to it and the way to the root is built from them. A path is
 * a hint: what changed at another machine is noticed when the answer is about another inode.
 *
 * Bounded by the kernel's own cache of inodes: about 250 bytes each.
 */
import { limits } from '../../schema/wire/limits.ts'
import type { Handle, Stat } from '../vfs/api.ts'
import { ROOT_ID } from './protocol.ts'

interface Dentry {
  readonly parent: Node
  readonly name: string
}

interface OpenHandle {
  readonly handle: Handle
  readonly writes: boolean
}

/** An inode that the kernel knows. */
export class Node {
  readonly id: number
  readonly inode: number
  /** As in st_mode, when it was told last. */
  mode: number
  /** Open handles of a file, the newest last. */
  handles: OpenHandle[] | undefined
  /** When something about it was changed here last: a count of changes. */
  changed = 0
  /** When it was read last and had no extended attributes; -1 when it had some. */
  plainAt = -1
  /** Under which sole use, and after how many failures, the kernel has pages that hold. */
  pages: { readonly soleUse: object; readonly failures: number } | undefined
  /** How often the kernel was told of it without forgetting it. */
  lookups = 0
  dentry: Dentry | undefined
  otherDentries: Dentry[] | undefined
  children: Map<string, Node> | undefined

  constructor(id: number, { inode, mode }: Pick<Stat, 'inode' | 'mode'>) {
    this.id = id
    this.inode = inode
    this.mode = mode
  }

  /** One of its open handles. */
  get handle(): Handle | undefined {
    return this.handles?.at(-1)?.handle
  }

  /** What is known of it changes when it is saved. */
  get isWritten(): boolean {
    return this.handles?.some(({ writes }) => writes) ?? false
  }

  /** The way to it; undefined when it has no name that we know. */
  get path(): string | undefined {
    if (this.id === ROOT_ID) return '/'
    let path = ''
    let { dentry } = this
    // Names learnt at different times could lead in a circle.
    for (let depth = 0; dentry !== undefined && depth < limits.resolveDepthMax; depth++) {
      path = `/${dentry.name}${path}`
      if (dentry.parent.id === ROOT_ID) return path
      ;({ dentry } = dentry.parent)
    }
    return undefined
  }

  childPath(name: string): string | undefined {
    const { path } = this
    return path === undefined ? undefined : `${path === '/' ? '' : path}/${name}`
  }

  /** For the log. */
  toString(): string {
    return this.path ?? `inode ${this.inode}`
  }
}

export class NodeTable {
  readonly #nodes = new Map<number, Node>()
  readonly #rootInode: number
  #changes = 0
  /** The newest change of a node that is forgotten. */
  #forgottenChange = 0

  constructor(root: Pick<Stat, 'inode' | 'mode'>) {
    this.#rootInode = root.inode
    const node = new Node(ROOT_ID, root)
    node.lookups = 1
    this.#nodes.set(ROOT_ID, node)
  }

  get size(): number {
    return this.#nodes.size
  }

  get(id: number): Node | undefined {
    return this.#nodes.get(id)
  }

  ofInode(inode: number): Node | undefined {
    return this.#nodes.get(this.#idOf(inode))
  }

  /**
   * Counts that the kernel is told that `name` in `parent` is this inode, as read after `moment`.
   * {@link forget} undoes it.
   */
  found(parent: Node, name: string, stat: Stat, moment: number): Node {
    const id = this.#idOf(stat.inode)
    let node = this.#nodes.get(id)
    if (node === undefined) {
      node = new Node(id, stat)
      this.#nodes.set(id, node)
    }
    this.told(node, stat, moment)
    node.lookups++
    const before = parent.children?.get(name)
    // The name found last leads to it: the others may be gone at another machine.
    if (before === node && isDentry(node.dentry, parent, name)) return node
    if (before === node) detach(node, parent, name)
    else if (before !== undefined) this.removed(parent, name)
    attach(node, { parent, name })
    return node
  }

  /** Notes what the kernel is told of a node, which was read after `moment`. */
  told(node: Node, { mode, hasXattrs }: Pick<Stat, 'mode' | 'hasXattrs'>, moment: number): void {
    node.mode = mode
    node.plainAt = hasXattrs || this.#forgottenChange > moment ? -1 : moment
  }

  /**
   * True when a node has no extended attributes as far as the kernel was told of it last, and this mount has
   * not changed it since.
   */
  isPlain({ plainAt, changed }: Node): boolean {
    return plainAt >= changed
  }

  /** The kernel gives back `lookups` of what it was told. */
  forget(id: number, lookups: number): void {
    const node = this.#nodes.get(id)
    if (node === undefined || id === ROOT_ID) return
    node.lookups -= lookups
    this.#dropUnused(node)
  }

  /** A name is no more. */
  removed(parent: Node, name: string): void {
    const node = parent.children?.get(name)
    if (node === undefined) return
    detach(node, parent, name)
    this.#dropUnused(node)
    this.#dropUnused(parent)
  }

  renamed(from: Dentry, to: Dentry): void {
    const node = from.parent.children?.get(from.name)
    this.removed(to.parent, to.name)
    if (node === undefined) return
    detach(node, from.parent, from.name)
    attach(node, to)
    this.#dropUnused(from.parent)
  }

  opened(node: Node, handle: Handle, writes: boolean): void {
    const opened = { handle, writes }
    if (node.handles === undefined) node.handles = [opened]
    else node.handles.push(opened)
  }

  released(id: number, handle: Handle): void {
    const node = this.#nodes.get(id)
    if (node?.handles === undefined) return
    const left = node.handles.filter((other) => other.handle !== handle)
    node.handles = left.length === 0 ? undefined : left
    this.#dropUnused(node)
  }

  /** To be called when a change of a node is asked for, and again when it is done. */
  touch(node: Node | undefined): void {
    if (node !== undefined) node.changed = ++this.#changes
  }

  /** A moment, for {@link unchangedSince}. */
  get now(): number {
    return this.#changes
  }

  /** True when what was read of an inode after `moment` still holds, as far as this mount changes it. */
  unchangedSince(moment: number, inode: number): boolean {
    if (this.#forgottenChange > moment) return false
    const node = this.ofInode(inode)
    return node === undefined || (node.changed <= moment && node.handles === undefined)
  }

  /** The kernel's numbers are ours, but for the root, whose number it has fixed. */
  #idOf(inode: number): number {
    if (inode === this.#rootInode) return ROOT_ID
    return inode === ROOT_ID ? this.#rootInode : inode
  }

  #dropUnused(node: Node): void {
    const used = node.lookups > 0 || node.handles !== undefined || node.children !== undefined
    if (used || !this.#nodes.delete(node.id)) return
    this.#forgottenChange = Math.max(this.#forgottenChange, node.changed)
    const dentries = [node.dentry, ...(node.otherDentries ?? [])]
    for (const dentry of dentries) {
      if (dentry === undefined) continue
      detach(node, dentry.parent, dentry.name)
      this.#dropUnused(dentry.parent)
    }
  }
}

/** The newest name leads to a node. */
function attach(node: Node, dentry: Dentry): void {
  if (node.dentry !== undefined) (node.otherDentries ??= []).push(node.dentry)
  node.dentry = dentry
  const children = (dentry.parent.children ??= new Map<string, Node>())
  children.set(dentry.name, node)
}

function detach(node: Node, parent: Node, name: string): void {
  parent.children?.delete(name)
  if (parent.children?.size === 0) parent.children = undefined
  if (isDentry(node.dentry, parent, name)) {
    node.dentry = node.otherDentries?.pop()
  } else {
    node.otherDentries = node.otherDentries?.filter((other) => !isDentry(other, parent, name))
  }
  if (node.otherDentries?.length === 0) node.otherDentries = undefined
}

function isDentry(dentry: Dentry | undefined, parent: Node, name: string): boolean {
  return dentry?.parent === parent && dentry.name === name
}
