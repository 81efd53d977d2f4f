/**
 * The secret of one inode and everything that is sealed with it: a directory's names and entries, the
 * attributes, extended attributes, inline content, and the keys of a file's chunks.
 *
 * Whoever holds a directory's secret can open its entries, hence every secret below it, and nothing
 * else. Each purpose has a key of its own (HKDF-SHA-256), derived when first needed. Byte formats
 * are in docs/format.md and fixed by known-answer tests.
 */
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Attributes } from '../../schema/generated/common.ts'
import { DIGEST_BYTES } from '../../schema/wire/content.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { CHUNK_SALT_AT, parseChunkHeader } from './chunk-cipher.ts'
import { decodeName, encodeName } from './name-bytes.ts'
import { openBox, sealBox } from './sealed-box.ts'

/** Bytes of an inode's secret. */
const SECRET_BYTES = 32

const NO_SALT = Buffer.alloc(0)
const ENTRY_DOMAIN = Buffer.from('dfs entry v1')
const INODE_DOMAIN = Buffer.from('dfs inode v1')
const PATCH_DOMAIN = Buffer.from('dfs patch v1')
const INLINE_DOMAIN = Buffer.from('dfs inline v1')
const XATTR_DOMAIN = Buffer.from('dfs xattr v1')
const CHUNK_DOMAIN = Buffer.from('dfs chunk v1')
const TREE_DOMAIN = Buffer.from('dfs tree v1')

const KIND_DIRECTORY = 2
const KIND_MAX = 7

/** Plaintext of an entry: u8 kind, secret, u16 length of the name, then the padded name. */
const ENTRY_NAME_AT = 1 + SECRET_BYTES + 2
/** Names are padded with zeros to a multiple of this, so that a server learns little of a length. */
const NAME_PADDING_BYTES = 32

/** Attributes as they are sealed: fixed width, little-endian, filled anew for each seal. */
const SEALED_ATTRIBUTES_BYTES = INODE_DOMAIN.length + 1 + 4 * 4 + 3 * 8 + DIGEST_BYTES
const attributesScratch = Buffer.alloc(SEALED_ATTRIBUTES_BYTES)
INODE_DOMAIN.copy(attributesScratch)

type Purpose = 'name' | 'entry' | 'inode' | 'inline' | 'patch' | 'xattr' | 'chunk' | 'tree'

/** What a directory entry says of a child. */
export interface Child {
  readonly kind: number
  readonly key: InodeKey
}

export class InodeKey {
  /** 32 bytes; all zeros after {@link erase}. */
  readonly secret: Uint8Array
  #name: Buffer | undefined
  #entry: Buffer | undefined
  #inode: Buffer | undefined
  #inline: Buffer | undefined
  #patch: Buffer | undefined
  #xattr: Buffer | undefined
  #chunk: Buffer | undefined
  #tree: Buffer | undefined
  #erased = false

  /** Copies `secret`, so that the caller may erase its own. */
  constructor(secret: Uint8Array) {
    invariant(secret.length === SECRET_BYTES, `an inode's secret has ${SECRET_BYTES} bytes`)
    this.secret = Buffer.from(secret)
  }

  static generate(): InodeKey {
    const secret = randomBytes(SECRET_BYTES)
    const key = new InodeKey(secret)
    secret.fill(0)
    return key
  }

  /** What the metadata server files `name` under in this directory: 32 bytes. */
  token(name: string): Buffer {
    return this.#tokenOf(encodeName(name))
  }

  #tokenOf(nameBytes: Uint8Array): Buffer {
    this.#name ??= this.#derive('name')
    return createHmac('sha256', this.#name).update(nameBytes).digest()
  }

  /** Seals a directory entry. Throws `nameTooLong`, or `invalidArgument` for what is no name. */
  sealEntry(name: string, child: Child): { token: Buffer; entry: Buffer } {
    const nameBytes = checkedName(name)
    invariant(child.kind >= 1 && child.kind <= KIND_MAX, `inode kind ${child.kind}`)
    invariant(!child.key.#erased, 'an erased key cannot be given on')
    const padded = Math.ceil(nameBytes.length / NAME_PADDING_BYTES) * NAME_PADDING_BYTES
    const plain = Buffer.alloc(ENTRY_NAME_AT + padded)
    plain.writeUInt8(child.kind, 0)
    plain.set(child.key.secret, 1)
    plain.writeUInt16LE(nameBytes.length, 1 + SECRET_BYTES)
    plain.set(nameBytes, ENTRY_NAME_AT)
    const token = this.#tokenOf(nameBytes)
    this.#entry ??= this.#derive('entry')
    const entry = sealBox(this.#entry, entryContext(token), plain)
    plain.fill(0)
    return { token, entry }
  }

  /**
   * Opens an entry that a server gave for `token`. Throws `notAuthentic` when it is not exactly what
   * {@link sealEntry} of this directory made for that token.
   */
  openEntry(token: Uint8Array, entry: Uint8Array): { name: string } & Child {
    this.#entry ??= this.#derive('entry')
    const plain = openBox(this.#entry, entryContext(token), entry, 'directory entry')
    try {
      return this.#parseEntry(token, plain)
    } finally {
      plain.fill(0)
    }
  }

  #parseEntry(token: Uint8Array, plain: Buffer): { name: string } & Child {
    const refuse = (why: string): DfsError =>
      new DfsError('notAuthentic', `directory entry: ${why}`)
    if (plain.length < ENTRY_NAME_AT) throw refuse('too short')
    const kind = plain.readUInt8(0)
    const nameEnd = ENTRY_NAME_AT + plain.readUInt16LE(1 + SECRET_BYTES)
    if (kind < 1 || kind > KIND_MAX) throw refuse(`unknown kind ${kind}`)
    if (nameEnd > plain.length) throw refuse('the name is cut short')
    const nameBytes = plain.subarray(ENTRY_NAME_AT, nameEnd)
    if (!sameBytes(this.#tokenOf(nameBytes), token)) {
      throw refuse('its name belongs to another token')
    }
    const key = new InodeKey(plain.subarray(1, 1 + SECRET_BYTES))
    return { name: decodeName(nameBytes), kind, key }
  }

  /** The attributes with their seal. A directory's mtime is not sealed: its server keeps it. */
  sealAttributes(attributes: Omit<Attributes, 'seal'>): Attributes {
    invariant(attributes.contentDigest.length === DIGEST_BYTES, 'a content digest is a SHA-256')
    return { ...attributes, seal: this.#attributesMac(attributes) }
  }

  /** Throws `notAuthentic` unless this inode's owner sealed exactly these attributes. */
  verifyAttributes(attributes: Attributes): void {
    if (attributes.contentDigest.length !== DIGEST_BYTES) {
      throw new DfsError('notAuthentic', 'inode attributes: the content digest is no SHA-256')
    }
    if (attributes.xattrDigest.length !== 0 && attributes.xattrDigest.length !== DIGEST_BYTES) {
      throw new DfsError('notAuthentic', 'inode attributes: no digest of extended attributes')
    }
    if (!sameBytes(this.#attributesMac(attributes), attributes.seal)) {
      throw new DfsError(
        'notAuthentic',
        `inode attributes (version ${attributes.version}): the seal does not verify under its owner's key`,
      )
    }
  }

  /** Seals a small file's content or a symbolic link's target. */
  sealInline(plain: Uint8Array): Buffer {
    this.#inline ??= this.#derive('inline')
    return sealBox(this.#inline, INLINE_DOMAIN, plain)
  }

  /** Opens what {@link sealInline} made. Throws `notAuthentic`. */
  openInline(sealed: Uint8Array): Buffer {
    this.#inline ??= this.#derive('inline')
    return openBox(this.#inline, INLINE_DOMAIN, sealed, 'inline content')
  }

  /** Seals the small writes that lie over a window's extents. */
  sealPatch(window: number, plain: Uint8Array): Buffer {
    this.#patch ??= this.#derive('patch')
    return sealBox(this.#patch, patchContext(window), plain)
  }

  /** Opens what {@link sealPatch} made for the same window. Throws `notAuthentic`. */
  openPatch(window: number, sealed: Uint8Array): Buffer {
    this.#patch ??= this.#derive('patch')
    return openBox(this.#patch, patchContext(window), sealed, `the patch of window ${window}`)
  }

  /** Seals all extended attributes of this inode, as one. */
  sealXattrs(plain: Uint8Array): Buffer {
    this.#xattr ??= this.#derive('xattr')
    return sealBox(this.#xattr, XATTR_DOMAIN, plain)
  }

  /** Opens what {@link sealXattrs} made. Throws `notAuthentic`. */
  openXattrs(sealed: Uint8Array): Buffer {
    this.#xattr ??= this.#derive('xattr')
    return openBox(this.#xattr, XATTR_DOMAIN, sealed, 'extended attributes')
  }

  /**
   * The 32-byte key of one chunk of this file, bound to the chunk's id and to the salt in its header.
   * Throws `notAuthentic` or `notSupported` for a header that is none.
   */
  chunkKey(header: Uint8Array, chunk: number): Buffer {
    parseChunkHeader(header)
    this.#chunk ??= this.#derive('chunk')
    const info = Buffer.alloc(CHUNK_DOMAIN.length + 8)
    CHUNK_DOMAIN.copy(info)
    writeU64(info, chunk, CHUNK_DOMAIN.length)
    const salt = header.subarray(CHUNK_SALT_AT)
    return Buffer.from(hkdfSync('sha256', this.#chunk, salt, info, 32))
  }

  /** Of a tree's root: authenticates a state of the tree as made by its owner. */
  treeStateMac(state: Uint8Array): Buffer {
    this.#tree ??= this.#derive('tree')
    return createHmac('sha256', this.#tree).update(TREE_DOMAIN).update(state).digest()
  }

  /** Zeroes the secret and all that was derived from it; the key is of no use afterwards. */
  erase(): void {
    this.#erased = true
    this.secret.fill(0)
    const content = [this.#inode, this.#inline, this.#patch, this.#xattr, this.#chunk]
    for (const key of [this.#name, this.#entry, this.#tree, ...content]) key?.fill(0)
    this.#inode = this.#inline = this.#patch = this.#xattr = this.#chunk = undefined
    this.#name = this.#entry = this.#tree = undefined
  }

  #attributesMac(attributes: Omit<Attributes, 'seal'>): Buffer {
    this.#inode ??= this.#derive('inode')
    const scratch = attributesScratch
    let at = scratch.writeUInt8(attributes.kind, INODE_DOMAIN.length)
    at = scratch.writeUInt32LE(attributes.mode, at)
    at = scratch.writeUInt32LE(attributes.uid, at)
    at = scratch.writeUInt32LE(attributes.gid, at)
    at = scratch.writeUInt32LE(attributes.rdev, at)
    at = writeU64(scratch, attributes.size, at)
    at = scratch.writeBigInt64LE(attributes.kind === KIND_DIRECTORY ? 0n : attributes.mtime, at)
    at = writeU64(scratch, attributes.version, at)
    scratch.set(attributes.contentDigest, at)
    // The fixed width of all before it tells where it begins, and its absence.
    return createHmac('sha256', this.#inode).update(scratch).update(attributes.xattrDigest).digest()
  }

  #derive(purpose: Purpose): Buffer {
    invariant(!this.#erased, 'this key was erased')
    return Buffer.from(hkdfSync('sha256', this.secret, NO_SALT, `dfs v1 ${purpose}`, SECRET_BYTES))
  }
}

/** The bytes of what can be a file's name. */
function checkedName(name: string): Buffer {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
    throw new DfsError('invalidArgument', `${JSON.stringify(name)} cannot be a file's name`)
  }
  const bytes = encodeName(name)
  if (bytes.length > limits.nameBytesMax) {
    const detail = `a name of ${bytes.length} bytes; at most ${limits.nameBytesMax} are possible`
    throw new DfsError('nameTooLong', detail)
  }
  return bytes
}

function entryContext(token: Uint8Array): Buffer {
  return Buffer.concat([ENTRY_DOMAIN, token])
}

/** Whether two byte strings are equal, in a time that does not depend on where they differ. */
function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

function writeU64(into: Buffer, value: number, at: number): number {
  into.writeUInt32LE(value % 0x1_0000_0000, at)
  return into.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4)
}

function patchContext(window: number): Buffer {
  const context = Buffer.alloc(PATCH_DOMAIN.length + 4)
  PATCH_DOMAIN.copy(context)
  context.writeUInt32LE(window, PATCH_DOMAIN.length)
  return context
}
