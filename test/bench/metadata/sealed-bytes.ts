/**
 * Tokens, entries and attributes as the metadata server gets them: random bytes of the lengths that a
 * client's have, so that nothing compresses. Tokens come from the file's number, to be found again.
 */
import { createHash, randomFillSync } from 'node:crypto'
import type { Attributes } from '../../../schema/generated/common.ts'
import { manifestDigest, NO_XATTRS } from '../../../schema/wire/content.ts'

/** A sealed entry of a name of up to 32 bytes: version, cipher, nonce, kind, key, length, name, tag. */
const ENTRY_BYTES = 2 + 12 + 1 + 32 + 2 + 32 + 16
const DIGEST_BYTES = 32
export const NO_BYTES = new Uint8Array(0)
export const FILE_BYTES = 67_108_864
const EMPTY_DIGEST = manifestDigest(NO_BYTES)

export const Kind = { file: 1, directory: 2 } as const

export function token(kind: 'file' | 'directory' | 'new', number: number): Buffer {
  return createHash('sha256').update(`${kind} ${number}`).digest()
}

const pool = Buffer.allocUnsafe(1_048_576)
let used = pool.length

function random(bytes: number): Buffer {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const taken = Buffer.from(pool.subarray(used, used + bytes))
  used += bytes
  return taken
}

export const entry = (): Buffer => random(ENTRY_BYTES)

export function attributes(kind: number, more: Partial<Attributes> = {}): Attributes {
  return {
    kind,
    mode: kind === Kind.directory ? 0o755 : 0o644,
    uid: 1_000,
    gid: 1_000,
    rdev: 0,
    size: 0,
    mtime: BigInt(Date.now()) * 1_000_000n,
    version: 1,
    contentDigest: more.size === undefined ? EMPTY_DIGEST : random(DIGEST_BYTES),
    xattrDigest: NO_XATTRS,
    seal: random(DIGEST_BYTES),
    ...more,
  }
}
