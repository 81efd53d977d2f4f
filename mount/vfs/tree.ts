/**
 * From paths to inodes: walks the sealed tree, opens and checks every entry on the way.
 *
 * Under the lease of the tree, what is known of it answers. Else what was seen before serves only to
 * compute all tokens of a path in advance, so that one request asks for the whole of it; the answer
 * decides. Where it differs, the walk goes on from there. So
 * two mounts of one tree always see each other's names. Symbolic links are left to the caller.
 */
import type { Inode } from '../../schema/generated/common.ts'
import type { ResolvedEntry, ResolveResponse } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { MetadataSession } from '../client/api.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { Context } from './context.ts'
import type { Dentry, DentryCache } from './dentry-cache.ts'
import { ABSENT, type Asked as LeaseAsked, type LeasedTree } from './leased-tree.ts'
import type { InodeVerifier, RequestStart } from './inode-verifier.ts'
import { Misses } from './misses.ts'
import { askedNames, tokensOf, type Asked } from './asked-names.ts'
import { componentsOf } from './path.ts'
import { KIND } from './stat.ts'

/** How often a walk is taken up again because the tree changed under it. */
const RESTARTS_MAX = 64

/** An inode and what opens it. */
export interface Found {
  readonly inode: Inode
  readonly key: InodeKey
}

export interface Parent {
  readonly directory: Found
  readonly name: string
}

/** What the tree leaves to others. */
interface Helpers {
  /** Makes the server know one inode, or all, that only this mount knows; does not throw. */
  readonly settle: (inode?: number) => Promise<void>
  /** Makes all names of a directory known under the lease. */
  readonly learn: (directory: Gap['directory'], path: string) => Promise<void>
}

/** Where what is known ends: a directory with a name that is not known. */
interface Gap {
  readonly directory: { readonly inode: number; readonly key: InodeKey }
}

interface Walk {
  readonly names: readonly string[]
  readonly path: string
  readonly hold: boolean
}

interface Step {
  readonly found: Found
  /** Names that lead to it. */
  readonly depth: number
  /** The inode is held at the server. */
  readonly held: boolean
}

export class Tree {
  readonly dentries: DentryCache
  readonly #session: MetadataSession
  readonly #verifier: InodeVerifier
  readonly #leased: LeasedTree
  readonly #settle: Helpers['settle']
  readonly #learn: Helpers['learn']
  readonly #misses = new Misses()
  /** Directories that are being read whole. */
  readonly #learning = new Map<number, Promise<boolean>>()

  constructor(
    { session, verifier, leased }: Pick<Context, 'session' | 'verifier' | 'leased'>,
    dentries: DentryCache,
    { settle, learn }: Helpers,
  ) {
    this.#session = session
    this.#verifier = verifier
    this.#leased = leased
    this.dentries = dentries
    this.#settle = settle
    this.#learn = learn
  }

  /**
   * What `path` names. With `hold` the inode is held open; `session.release` undoes it. Throws
   * `notFound`, `notDirectory` (a name in the middle is none), `notAuthentic`.
   */
  async resolve(path: string, hold = false): Promise<Found> {
    return this.#walk({ names: componentsOf(path), path, hold })
  }

  /** The directory that holds `path`'s last name. Throws also `notPermitted` for the root. */
  async parentOf(path: string): Promise<Parent> {
    const names = componentsOf(path)
    const name = names.at(-1)
    if (name === undefined) throw new DfsError('notPermitted', 'the root cannot be changed so')
    const directory = await this.#walk({ names: names.slice(0, -1), path, hold: false })
    if (directory.inode.attributes.kind !== KIND.directory) {
      throw new DfsError('notDirectory', `${path}: a name in the middle is no directory`)
    }
    return { directory, name }
  }

  /** The number of the directory that has `path`'s last name, if that is known at this moment. */
  knownDirectoryOf(path: string): number | undefined {
    const known = this.#known({ names: componentsOf(path).slice(0, -1), path, hold: false })
    return known !== undefined && 'inode' in known ? known.inode.inode : undefined
  }

  /** Opens one entry of a directory, checks it, and remembers it. */
  open(
    directory: { readonly inode: number; readonly key: InodeKey },
    name: string | undefined,
    { token, entry, inode }: { token: Buffer; entry: Uint8Array; inode: Inode },
    { started, asked }: Asking,
  ): Found & { readonly name: string } {
    const known = name === undefined ? undefined : this.dentries.get(directory.inode, name)
    if (name !== undefined && known !== undefined && Buffer.compare(known.entry, entry) === 0) {
      if (known.inode !== inode.inode) {
        const detail = `${name}: the same sealed entry names another inode than before`
        throw new DfsError('notAuthentic', detail)
      }
      this.#verifier.verify(inode, known.key, started, name)
      this.#leased.learnName(asked, directory.inode, name, known)
      this.#leased.learnInode(asked, inode)
      return { inode, key: known.key, name }
    }
    const opened = directory.key.openEntry(token, entry)
    if (name !== undefined && opened.name !== name) {
      throw new DfsError('notAuthentic', `${name}: its sealed entry carries another name`)
    }
    if (opened.kind !== inode.attributes.kind) {
      throw new DfsError('notAuthentic', `${opened.name}: its inode is of another kind`)
    }
    this.#verifier.verify(inode, opened.key, started, opened.name)
    // The keys derived so far are worth keeping when it is the same inode under a new seal.
    const key = known !== undefined && sameKey(known, opened.key) ? known.key : opened.key
    const dentry = { token, entry, kind: opened.kind, inode: inode.inode, key }
    this.dentries.set(directory.inode, opened.name, dentry)
    this.#leased.learnName(asked, directory.inode, opened.name, dentry)
    this.#leased.learnInode(asked, inode)
    return { inode, key, name: opened.name }
  }

  /** To be called before a request whose answer is given to {@link open}. */
  ask(): Asking {
    return { started: this.#verifier.start(), asked: this.#leased.ask() }
  }

  /** What is known under the lease, or how far; undefined when the server must be asked for all. */
  #known({ names, path }: Walk): Found | Gap | undefined {
    const { rootInode, rootKey } = this.#session
    const leased = this.#leased
    if (leased.fresh === undefined) return undefined
    let at: { inode: number; key: InodeKey; kind: number } = {
      inode: rootInode,
      key: rootKey,
      kind: KIND.directory,
    }
    for (const [depth, name] of names.entries()) {
      if (at.kind !== KIND.directory) {
        throw new DfsError('notDirectory', `${path}: ${names[depth - 1]} is no directory`)
      }
      const dentry = leased.lookup(at.inode, name)
      if (dentry === undefined) return { directory: at }
      if (dentry === ABSENT) throw new DfsError('notFound', `${path} does not exist`)
      at = dentry
    }
    const inode = leased.inode(at.inode)
    return inode === undefined ? undefined : { inode, key: at.key }
  }

  /**
   * What is known under the lease, once a directory was read whole if that is worth it. Held in the moment
   * in which it is found, so that whoever decides that nobody has it decides before or after; `held` is
   * false when only the server can tell if it is still there.
   */
  async #knownSoon(walk: Walk): Promise<(Found & { readonly held: boolean }) | undefined> {
    for (let last = 0; ;) {
      const known = this.#known(walk)
      if (known === undefined) return undefined
      if ('inode' in known) {
        const { inode } = known.inode
        // What we are changing ourselves may be gone in a moment.
        const held = walk.hold && !this.#leased.isChanging(inode)
        if (held) this.#session.heldUntold(inode)
        return { ...known, held }
      }
      const { directory } = known
      if (directory.inode === last || !(await this.#learnWhole(directory, walk.path))) {
        return undefined
      }
      last = directory.inode
    }
  }

  /** Reads a directory whole if that costs less than asking for one name; true when it did. */
  async #learnWhole(directory: Gap['directory'], path: string): Promise<boolean> {
    const { inode } = directory
    const running = this.#learning.get(inode)
    if (running !== undefined) return running
    const entryCount = this.#leased.inode(inode)?.entryCount
    if (entryCount === undefined || !this.#misses.missed(inode, entryCount)) return false
    const learning = this.#learn(directory, path).then(
      () => true,
      () => false,
    )
    this.#learning.set(inode, learning)
    const learnt = await learning
    this.#learning.delete(inode)
    // It is asked for name by name then, which also tells what was wrong.
    if (!learnt || this.#leased.names(inode) === undefined) this.#misses.failed(inode, entryCount)
    return learnt
  }

  async #walk(walk: Walk): Promise<Found> {
    for (let restarts = 0; ; restarts++) {
      try {
        const known = await this.#knownSoon(walk)
        if (known === undefined) return await this.#walkAtServer(walk)
        return walk.hold && !known.held ? await this.#holdAtServer(walk, known) : known
      } catch (error) {
        // It lost its name before it could be held: what the name means now decides.
        const gone = walk.hold && error instanceof DfsError && error.code === 'staleInode'
        if (!gone || restarts >= RESTARTS_MAX) throw error
      }
    }
  }

  async #walkAtServer(walk: Walk): Promise<Found> {
    const { rootInode, rootKey } = this.#session
    await this.#settle()
    let base = { inode: rootInode, key: rootKey }
    let depth = 0
    for (let restarts = 0; restarts < RESTARTS_MAX + walk.names.length; restarts++) {
      const step = await this.#ask(walk, base, depth)
      if (step.depth === walk.names.length) {
        if (walk.hold) await this.#hold(step)
        return step.found
      }
      depth = step.depth
      base = { inode: step.found.inode.inode, key: step.found.key }
    }
    throw new DfsError('versionConflict', `${walk.path}: the folders on the way keep changing`)
  }

  /** One request: as far down the path as names are known, and one more. */
  async #ask(
    walk: Walk,
    base: { readonly inode: number; readonly key: InodeKey },
    depth: number,
  ): Promise<Step> {
    const asked = askedNames(this.dentries, walk.names, base, depth)
    const complete = depth + asked.length === walk.names.length
    const asking = this.ask()
    const response = await this.#session.read(methods.resolve, {
      base: base.inode,
      tokens: tokensOf(asked),
      hold: walk.hold && complete,
    })
    const held = walk.hold && complete && response.entries.length === asked.length
    try {
      const step = this.#accept(walk, { base, depth, asked, response, asking })
      if (held && step.depth < walk.names.length) this.#undoHold(response)
      return { ...step, held }
    } catch (error) {
      if (held) this.#undoHold(response)
      if (error instanceof DfsError && error.errno !== 'ENOENT' && error.errno !== 'ENOTDIR') {
        this.#verifier.refused(walk.path, error)
      }
      throw error
    }
  }

  /** Checks an answer; how far it leads, at least one name further. */
  #accept(
    walk: Walk,
    answered: {
      readonly base: { readonly inode: number; readonly key: InodeKey }
      readonly depth: number
      readonly asked: readonly Asked[]
      readonly response: ResolveResponse
      readonly asking: Asking
    },
  ): Omit<Step, 'held'> {
    const { base, asked, response, asking } = answered
    const { entries } = response
    if (entries.length > asked.length || response.base.inode !== base.inode) {
      throw new DfsError('notAuthentic', `${walk.path}: the answer is not to what was asked`)
    }
    this.#verifier.verify(response.base, base.key, asking.started, walk.path)
    this.#leased.learnInode(asking.asked, response.base)
    let found: Found = { inode: response.base, key: base.key }
    let { depth } = answered
    for (const [index, entry] of entries.entries()) {
      const ask = asked[index]
      invariant(ask !== undefined, 'as many answers as questions at most')
      // The token was computed with the key of what the directory was last time.
      if (ask.directory !== found.inode.inode) return { found, depth }
      const child = this.#openAt(walk, found, ask, entry, asking)
      depth++
      if (ask.expected !== undefined && ask.expected.key !== child.key) {
        return { found: child, depth }
      }
      found = child
    }
    if (entries.length === asked.length) return { found, depth }
    const missing = asked[entries.length]
    if (missing?.directory !== found.inode.inode) return { found, depth }
    if (found.inode.attributes.kind !== KIND.directory) {
      throw new DfsError('notDirectory', `${walk.path}: ${walk.names[depth - 1]} is no directory`)
    }
    this.dentries.delete(found.inode.inode, missing.name)
    this.#leased.learnName(asking.asked, found.inode.inode, missing.name, ABSENT)
    throw new DfsError('notFound', `${walk.path} does not exist`)
  }

  #openAt(
    walk: Walk,
    directory: Found,
    { name, token }: Asked,
    { entry, inode }: ResolvedEntry,
    asking: Asking,
  ): Found {
    if (directory.inode.attributes.kind !== KIND.directory) {
      throw new DfsError('notAuthentic', `${walk.path}: the server found a name in no directory`)
    }
    const at = { inode: directory.inode.inode, key: directory.key }
    return this.open(at, name, { token, entry, inode }, asking)
  }

  async #holdAtServer({ path }: Walk, { inode: { inode }, key }: Found): Promise<Found> {
    await this.#settle(inode)
    const { started, asked } = this.ask()
    const response = await this.#session.read(methods.getInode, { inode, hold: true })
    this.#session.held(inode)
    try {
      if (response.inode.inode !== inode) {
        throw new DfsError('notAuthentic', `${path}: the answer is not to what was asked`)
      }
      this.#verifier.verify(response.inode, key, started, path)
    } catch (error) {
      this.#session.release(inode)
      throw error
    }
    this.#leased.learnInode(asked, response.inode)
    return { inode: response.inode, key }
  }

  /** A found inode that the request did not hold, since it took more than one. */
  async #hold({ found, held }: Step): Promise<void> {
    const { inode } = found.inode
    if (!held) await this.#session.read(methods.getInode, { inode, hold: true })
    this.#session.held(inode)
  }

  #undoHold({ entries, base }: ResolveResponse): void {
    const { inode } = entries.at(-1)?.inode ?? base
    this.#session.held(inode)
    this.#session.release(inode)
  }
}

/** When something was asked for: what its answer may not be older than. */
export interface Asking {
  readonly started: RequestStart
  readonly asked: LeaseAsked
}

function sameKey(known: Dentry, key: InodeKey): boolean {
  return Buffer.compare(known.key.secret, key.secret) === 0
}
