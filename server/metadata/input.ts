/**
 * What requests may contain, checked at the border before an operation runs. Lengths of sealed
 * things are all that can be judged here; their content is the client's own.
 */
import type { Attributes, Extent } from '../../schema/generated/common.ts'
import { DIGEST_BYTES, inlineDigest, manifestDigest } from '../../schema/wire/content.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { INODE_KIND_MAX, InodeKind } from './inode-kinds.ts'

const SEAL_BYTES = 32
const MODE_MAX = 0o7777
/** Bytes that sealing adds to inline content: version, cipher, nonce, tag, and room for a later one. */
const INLINE_SEALING_BYTES_MAX = 64

/** Highest index of a window. */
export const WINDOW_INDEX_MAX = limits.fileBytesMax / limits.chunkBytesMax - 1

export function refuse(detail: string): never {
  throw new DfsError('invalidArgument', detail)
}

export function checkToken(token: Uint8Array): void {
  if (token.length !== limits.tokenBytes) {
    refuse(`a token of ${token.length} bytes; it has ${limits.tokenBytes}`)
  }
}

export function checkEntry(entry: Uint8Array): void {
  if (entry.length === 0 || entry.length > limits.sealedEntryBytesMax) {
    refuse(`a sealed entry of ${entry.length} bytes; it has 1 to ${limits.sealedEntryBytesMax}`)
  }
}

/** Attributes of any inode. */
export function checkAttributes(attributes: Attributes): void {
  const { kind, mode, size, contentDigest, seal, xattrDigest } = attributes
  if (kind < 1 || kind > INODE_KIND_MAX) refuse(`inode kind ${kind} does not exist`)
  if (mode > MODE_MAX) refuse(`mode 0${mode.toString(8)} has more than permission bits`)
  if (size > limits.fileBytesMax) {
    throw new DfsError('fileTooLarge', `${size} bytes; a file has at most ${limits.fileBytesMax}`)
  }
  if (contentDigest.length !== DIGEST_BYTES) {
    refuse(`a content digest of ${contentDigest.length} bytes; it has ${DIGEST_BYTES}`)
  }
  if (xattrDigest.length !== 0 && xattrDigest.length !== DIGEST_BYTES) {
    refuse(`a digest of extended attributes of ${xattrDigest.length} bytes`)
  }
  if (seal.length !== SEAL_BYTES) refuse(`a seal of ${seal.length} bytes; it has ${SEAL_BYTES}`)
}

/** Attributes and inline content of an inode that has no windows: new, or after a commit of inline. */
export function checkInline(attributes: Attributes, inline: Uint8Array): void {
  const { kind, size } = attributes
  const lengthMax =
    kind === InodeKind.symbolicLink
      ? limits.sealedSymlinkBytesMax
      : kind === InodeKind.file
        ? limits.inlineBytesMax + INLINE_SEALING_BYTES_MAX
        : 0
  if (inline.length > lengthMax) {
    refuse(`inline content of ${inline.length} bytes; an inode of kind ${kind} has ${lengthMax}`)
  }
  if (kind === InodeKind.symbolicLink && inline.length === 0)
    refuse('a symbolic link without target')
  if (inline.length === 0 && size !== 0) refuse(`${size} bytes without content`)
  const digest = inline.length > 0 ? inlineDigest(inline) : EMPTY_DIGEST
  if (!Buffer.from(attributes.contentDigest).equals(digest)) {
    refuse('the content digest is not that of the content')
  }
}

const EMPTY_DIGEST = manifestDigest(new Uint8Array(0))

/** An extent inside its window; whether its chunk is long enough is seen later. */
export function checkExtent({ chunk, offset, length, chunkOffset }: Extent): void {
  const max = limits.chunkBytesMax
  if (chunk === 0 || length === 0 || offset + length > max || chunkOffset + length > max) {
    refuse(
      `extent of chunk ${chunk}: ${length} bytes at ${offset}, from ${chunkOffset} in the chunk`,
    )
  }
}

/** Numbers that must be different from each other. */
export function checkDistinct(numbers: readonly number[], what: string): void {
  if (new Set(numbers).size !== numbers.length) refuse(`${what} named twice`)
}
