/**
 * Extended attributes: read, changed, sealed again as one record, whose digest the inode's seal covers.
 * So a server can neither drop nor exchange one without being noticed.
 *
 * Kept are `user.` and `trusted.` names, and access control lists (`access-control.ts` changes those). The
 * rest of `security.` and `system.` (capabilities, labels) means something to kernels only if they enforce it,
 * which ours cannot: `notSupported`.
 */
import { LRUCache } from 'lru-cache'
import type { Attributes, Inode } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import { NO_XATTRS, xattrDigest } from '../../schema/wire/content.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { decodeXattrs, encodeXattrs, type Xattrs } from '../crypto/extended-attributes.ts'
import { encodeName } from '../crypto/name-bytes.ts'
import { isAclName } from './acl.ts'
import type { XattrMode } from './api.ts'
import { changedInode, changeSealed, type AttributeChange } from './attribute-changes.ts'
import type { Context } from './context.ts'
import { sameDigest } from './manifest.ts'
import type { Found } from './tree.ts'

/** Bytes of opened records that are kept, so that asking for a size and then a value is one request. */
const CACHE_BYTES = 4 * 1_024 * 1_024
/** What an entry costs beside its bytes, about. */
const ENTRY_BYTES = 512

const SPACES = ['user.', 'trusted.']
const NONE: Xattrs = new Map()

interface Opened {
  readonly digest: Uint8Array
  readonly xattrs: Xattrs
  readonly bytes: number
}

/** What a change makes of an inode and its extended attributes; what is absent stays. */
interface Altered {
  readonly change?: AttributeChange
  readonly xattrs?: Xattrs
}

/** True for a name that can be kept. */
export function isKeptXattr(name: string): boolean {
  return (
    isAclName(name) || SPACES.some((space) => name.startsWith(space) && name.length > space.length)
  )
}

export class ExtendedAttributes {
  readonly #context: Pick<Context, 'session' | 'verifier' | 'leased'>
  readonly #opened = new LRUCache<number, Opened>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ bytes }) => bytes + ENTRY_BYTES,
  })

  constructor(context: Pick<Context, 'session' | 'verifier' | 'leased'>) {
    this.#context = context
  }

  /** Throws `noAttribute`; `notSupported` for a name outside what is kept. */
  async get(found: Found, name: string, path: string): Promise<Uint8Array> {
    checkXattrName(name)
    const { xattrs } = await this.#read(found, path)
    const value = xattrs.get(name)
    if (value === undefined) throw missing(name, path)
    return value
  }

  async list(found: Found, path: string): Promise<string[]> {
    return [...(await this.all(found, path)).keys()]
  }

  /** Asks nothing where there are none. */
  async all(found: Found, path: string): Promise<Xattrs> {
    return (await this.#read(found, path)).xattrs
  }

  /**
   * Returns the verified inode after the change. Throws `exists` and `noAttribute` as `mode` wants,
   * `noSpace` when they get too many.
   */
  async set(
    found: Found,
    { name, value, mode }: { name: string; value: Uint8Array; mode: XattrMode },
    path: string,
  ): Promise<Inode> {
    checkChangeable(name)
    if (value.length > limits.xattrValueBytesMax) {
      throw new DfsError('noSpace', `${path}: ${value.length} bytes for ${name}`)
    }
    return this.alter(found, path, (xattrs) => {
      if (mode === 'create' && xattrs.has(name)) throw new DfsError('exists', `${path}: ${name}`)
      if (mode === 'replace' && !xattrs.has(name)) throw missing(name, path)
      return { xattrs: new Map(xattrs).set(name, value) }
    })
  }

  /** As {@link set}. Throws `noAttribute`. */
  async remove(found: Found, name: string, path: string): Promise<Inode> {
    checkChangeable(name)
    return this.alter(found, path, (xattrs) => {
      const left = new Map(xattrs)
      if (!left.delete(name)) throw missing(name, path)
      return { xattrs: left }
    })
  }

  /**
   * Changes an inode and its extended attributes in one commit, as `make` says, which runs again when
   * somebody else was faster. Returns the verified inode after it. Throws `noSpace` when they get too many.
   */
  alter(
    found: Found,
    path: string,
    make: (xattrs: Xattrs, attributes: Attributes) => Altered,
  ): Promise<Inode> {
    const { key } = found
    return changeSealed(this.#context, found, path, async (current) => {
      const { inode, xattrs } = await this.#read({ inode: current, key }, path)
      const { change = {}, xattrs: after } = make(xattrs, inode.attributes)
      const changed = changedInode(inode, change)
      if (after === undefined) return changed
      const sealed = after.size === 0 ? NO_XATTRS : key.sealXattrs(encodeXattrs(after))
      const digest = xattrDigest(sealed)
      // The kernel asks for a list that it has just set; should the change fail, nobody has that digest.
      this.#opened.set(inode.inode, { digest, xattrs: after, bytes: sealed.length })
      const attributes = { ...changed.attributes, xattrDigest: digest }
      return { ...changed, attributes, xattrs: sealed }
    })
  }

  /** All of them, with the inode that they belong to, which may be a newer one than was given. */
  async #read(
    { inode: known, key }: Found,
    path: string,
  ): Promise<{ inode: Inode; xattrs: Xattrs }> {
    const { xattrDigest: digest } = known.attributes
    if (digest.length === 0) return { inode: known, xattrs: NONE }
    const opened = this.#opened.get(known.inode)
    if (opened !== undefined && sameDigest(opened.digest, digest)) {
      return { inode: known, xattrs: opened.xattrs }
    }
    const { session, verifier } = this.#context
    const started = verifier.start()
    const { inode, xattrs: sealed } = await session.read(methods.readXattrs, { inode: known.inode })
    verifier.verify(inode, key, started, path)
    const { xattrDigest: vouched } = inode.attributes
    if (inode.inode !== known.inode || !sameDigest(xattrDigest(sealed), vouched)) {
      const detail = `${path} (inode ${known.inode}): its extended attributes are not what was sealed`
      throw new DfsError('notAuthentic', detail)
    }
    if (sealed.length === 0) return { inode, xattrs: NONE }
    const xattrs = decodeXattrs(key.openXattrs(sealed))
    this.#opened.set(known.inode, { digest: vouched, xattrs, bytes: sealed.length })
    return { inode, xattrs }
  }
}

function checkXattrName(name: string): void {
  if (!isKeptXattr(name)) {
    const detail = `extended attribute ${name}: only names in user. and trusted. and ACLs are kept`
    throw new DfsError('notSupported', detail)
  }
  if (encodeName(name).length > limits.nameBytesMax) throw new DfsError('invalidArgument', name)
}

/** A list that is set as it comes would be believed without a look at it. */
function checkChangeable(name: string): void {
  invariant(!isAclName(name), 'access control lists are changed with the mode')
  checkXattrName(name)
}

function missing(name: string, path: string): DfsError {
  return new DfsError('noAttribute', `${path} has no extended attribute ${name}`)
}
