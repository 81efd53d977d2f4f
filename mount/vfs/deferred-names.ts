/**
 * mkdir, unlink, rmdir and rename that are answered before the server knows of them, where that is safe:
 * under the lease of the tree, when everything that decides about them is known, and no file is open that
 * they touch. Each returns false when it must be done at the server instead.
 *
 * From the last look at what is known to the entry in the journal nothing is waited for, so a recall of
 * the lease comes before it, or finds it there.
 */
import type { Inode } from '../../schema/generated/common.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { LeaseTerm } from '../client/lease.ts'
import { InodeKey } from '../crypto/inode-key.ts'
import type { Context } from './context.ts'
import type { Dentry } from './dentry-cache.ts'
import type { InodeNumbers } from './inode-numbers.ts'
import { ABSENT } from './leased-tree.ts'
import { madeIn, type NewOwnerAndMode } from './made-in.ts'
import { newInode, nowNs } from './new-inode.ts'
import type { OpenFiles } from './open-files.ts'
import { KIND } from './stat.ts'
import type { Tree } from './tree.ts'

const NO_BYTES = new Uint8Array(0)

/** A name, all that is known of it, and of the directory that has it. */
interface Place {
  readonly path: string
  readonly name: string
  readonly parent: Inode
  readonly key: InodeKey
  readonly dentry: Dentry | typeof ABSENT
  /** What the name means; undefined when it does not exist. */
  readonly child: Inode | undefined
}

/** How many entries, and directories among them, a directory gains. */
interface Gain {
  readonly entries: number
  readonly directories: number
}

export class DeferredNames {
  readonly #context: Context
  readonly #tree: Tree
  readonly #files: Pick<OpenFiles, 'file'>
  readonly #numbers: InodeNumbers

  constructor(context: Context, tree: Tree, files: Pick<OpenFiles, 'file'>, numbers: InodeNumbers) {
    this.#context = context
    this.#tree = tree
    this.#files = files
    this.#numbers = numbers
  }

  /** Throws `exists`, and what finding the directory throws. */
  async mkdir(path: string, from: NewOwnerAndMode): Promise<boolean> {
    const { leased, journal } = this.#context
    const [place] = (await this.#places(path)) ?? []
    const term = leased.fresh
    if (place === undefined || term === undefined) return false
    if (place.dentry !== ABSENT) throw new DfsError('exists', `${path} exists`)
    // It may have a list to inherit, which births do not bring.
    if (place.parent.attributes.xattrDigest.length > 0) return false
    const number = this.#numbers.take()
    if (number === undefined) return false
    const { parent, key: parentKey, name } = place
    const key = InodeKey.generate()
    const { token, entry } = parentKey.sealEntry(name, { kind: KIND.directory, key })
    const made = newInode(
      number,
      key,
      KIND.directory,
      madeIn(parent.attributes, KIND.directory, from),
    )
    const dentry = { token, entry, kind: KIND.directory, inode: number, key }
    const change = leased.change([[parent.inode, name]], [parent.inode])
    change.name(parent.inode, name, dentry)
    change.inode(gained(parent, { entries: 1, directories: 1 }))
    change.made(made, true)
    change.end()
    this.#tree.dentries.set(parent.inode, name, dentry)
    const { attributes } = made
    const where = { parent: parent.inode, token, entry }
    const nothing = { inline: NO_BYTES, patch: NO_BYTES }
    const birth = { inode: number, ...where, attributes, ...nothing, hold: false, atime: 0n }
    const keys = [[parent.inode, parentKey] as const, [number, key] as const]
    journal.append({ change: { birth }, term, path, keys })
    return true
  }

  /** unlink, or rmdir with `directory`. Throws `notFound`, `isDirectory`, `notDirectory`, `notEmpty`. */
  async remove(path: string, directory: boolean): Promise<boolean> {
    const { leased, journal } = this.#context
    const [place] = (await this.#places(path)) ?? []
    const term = leased.fresh
    if (place === undefined || term === undefined) return false
    const { parent, key: parentKey, name, dentry, child } = place
    refuseAbsent(path, place)
    if (dentry === ABSENT || child === undefined) return false
    if (directory && !isDirectory(child)) {
      throw new DfsError('notDirectory', `${path} is no directory`)
    }
    if (!directory && isDirectory(child))
      throw new DfsError('isDirectory', `${path} is a directory`)
    if (directory && !this.#requireEmpty(path, child)) return false
    const change = leased.change([[parent.inode, name]], [parent.inode, child.inode])
    change.name(parent.inode, name, ABSENT)
    change.inode(gained(parent, { entries: -1, directories: directory ? -1 : 0 }))
    change.inode(unnamed(child))
    change.end()
    this.#tree.dentries.delete(parent.inode, name)
    const { token } = dentry
    const unlink = { parent: parent.inode, token, directory, inode: child.inode }
    const keys = [[parent.inode, parentKey] as const, [child.inode, dentry.key] as const]
    journal.append({ change: { unlink }, term, path, keys })
    return true
  }

  /**
   * `to` is not below `from`. Throws `notFound`, `isDirectory`, `notDirectory`, `notEmpty`, and what
   * finding the directories throws.
   */
  async rename(from: string, to: string): Promise<boolean> {
    const { leased } = this.#context
    // What is wrong with the first name is told before what is wrong with the second.
    const first = await this.#places(from)
    if (first === undefined) return false
    refuseAbsent(from, first[0])
    const [source, target] = (await this.#places(from, to)) ?? []
    const term = leased.fresh
    if (source === undefined || target === undefined || term === undefined) return false
    const { dentry, child } = source
    refuseAbsent(from, source)
    if (dentry === ABSENT || child === undefined) return false
    const replaced = target.child
    // Two names of one inode: the server has that rule.
    if (replaced?.inode === child.inode) return false
    if (replaced !== undefined) {
      if (isDirectory(child) && !isDirectory(replaced)) {
        throw new DfsError('notDirectory', `${to} is no directory`)
      }
      if (!isDirectory(child) && isDirectory(replaced)) {
        throw new DfsError('isDirectory', `${to} is a directory`)
      }
      if (isDirectory(replaced) && !this.#requireEmpty(to, replaced)) return false
    }
    this.#move(source, target, { dentry, child, term })
    return true
  }

  #move(
    source: Place,
    target: Place,
    { dentry, child, term }: { dentry: Dentry; child: Inode; term: LeaseTerm },
  ): void {
    const { leased, journal } = this.#context
    const replaced = target.child
    const { kind, key } = dentry
    const { token, entry } = target.key.sealEntry(target.name, { kind, key })
    const directory = isDirectory(child) ? 1 : 0
    const lost = {
      entries: replaced === undefined ? 0 : 1,
      directories: replaced !== undefined && isDirectory(replaced) ? 1 : 0,
    }
    const fromParent = source.parent.inode
    const toParent = target.parent.inode
    const inodes = [fromParent, toParent, child.inode, ...(replaced ? [replaced.inode] : [])]
    const change = leased.change(
      [
        [fromParent, source.name],
        [toParent, target.name],
      ],
      [...new Set(inodes)],
    )
    change.name(fromParent, source.name, ABSENT)
    const moved = { token, entry, kind, inode: child.inode, key }
    change.name(toParent, target.name, moved)
    if (fromParent === toParent) {
      change.inode(
        gained(source.parent, { entries: -lost.entries, directories: -lost.directories }),
      )
    } else {
      change.inode(gained(source.parent, { entries: -1, directories: -directory }))
      const gain = { entries: 1 - lost.entries, directories: directory - lost.directories }
      change.inode(gained(target.parent, gain))
    }
    change.inode({ ...child, ctime: nowNs() })
    if (replaced !== undefined) change.inode(unnamed(replaced))
    change.end()
    this.#tree.dentries.delete(fromParent, source.name)
    this.#tree.dentries.set(toParent, target.name, moved)
    const rename = {
      fromParent,
      fromToken: dentry.token,
      toParent,
      toToken: token,
      entry,
      inode: child.inode,
      replaced: replaced?.inode ?? 0,
    }
    const keys: [number, InodeKey][] = [
      [fromParent, source.key],
      [toParent, target.key],
      [child.inode, key],
    ]
    if (replaced !== undefined && target.dentry !== ABSENT) {
      keys.push([replaced.inode, target.dentry.key])
    }
    journal.append({ change: { rename }, term, path: `${source.path} -> ${target.path}`, keys })
  }

  /** What is known of the names, as of this moment; undefined when that is not all. */
  async #places(...paths: readonly string[]): Promise<Place[] | undefined> {
    const { leased, journal } = this.#context
    journal.report()
    if (leased.fresh === undefined) return undefined
    const room = journal.room()
    if (room !== undefined) await room
    const parents = []
    for (const path of paths) parents.push(await this.#tree.parentOf(path))
    const places: Place[] = []
    for (const [index, { directory, name }] of parents.entries()) {
      const number = directory.inode.inode
      const parent = leased.inode(number)
      const dentry = leased.lookup(number, name)
      if (parent === undefined || dentry === undefined || leased.isChanging(number)) {
        return undefined
      }
      const child = dentry === ABSENT ? undefined : this.#unused(dentry.inode)
      if (dentry !== ABSENT && child === undefined) return undefined
      places.push({ path: paths[index] ?? '', name, parent, key: directory.key, dentry, child })
    }
    return places
  }

  /** What is known of an inode that nothing else is done to. */
  #unused(inode: number): Inode | undefined {
    const { leased, freshness } = this.#context
    if (this.#files.file(inode) !== undefined || leased.isChanging(inode)) return undefined
    if (freshness.isHeld(inode)) return undefined
    return leased.inode(inode)
  }

  /** Throws `notEmpty`; false when that is not known. */
  #requireEmpty(path: string, directory: Inode): boolean {
    const names = this.#context.leased.names(directory.inode)
    if (names !== undefined && names.size > 0) {
      throw new DfsError('notEmpty', `${path} has ${names.size} entries`)
    }
    return names !== undefined && directory.entryCount === 0
  }
}

function refuseAbsent(path: string, place: Place | undefined): void {
  if (place?.dentry === ABSENT) throw new DfsError('notFound', `${path} does not exist`)
}

const isDirectory = ({ attributes }: Inode): boolean => attributes.kind === KIND.directory

/** A directory after its entries changed. */
function gained(directory: Inode, { entries, directories }: Gain): Inode {
  const now = nowNs()
  const directoryCount = directory.directoryCount + directories
  return {
    ...directory,
    attributes: { ...directory.attributes, mtime: now },
    ctime: now,
    entryCount: directory.entryCount + entries,
    directoryCount,
    nlink: 2 + directoryCount,
  }
}

/** An inode that lost a name; undefined when it was the last. */
function unnamed(inode: Inode): Inode | undefined {
  const { nlink } = inode
  return isDirectory(inode) || nlink <= 1
    ? undefined
    : { ...inode, nlink: nlink - 1, ctime: nowNs() }
}
