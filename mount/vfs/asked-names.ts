/**
 * What one request can ask of a path: names whose directory is known from before, and so the key that
 * makes their tokens.
 */
import type { InodeKey } from '../crypto/inode-key.ts'
import type { Dentry, DentryCache } from './dentry-cache.ts'
import { KIND } from './stat.ts'

const NO_BYTES = new Uint8Array(0)

export interface Asked {
  readonly name: string
  readonly token: Buffer
  readonly directory: number
  /** What the name meant last time. */
  readonly expected: Dentry | undefined
}

/** The names from `depth` on, as far as directories are known, and one more. */
export function askedNames(
  dentries: DentryCache,
  names: readonly string[],
  base: { readonly inode: number; readonly key: InodeKey },
  depth: number,
): Asked[] {
  const asked: Asked[] = []
  let at = base
  for (const name of names.slice(depth)) {
    const expected = dentries.get(at.inode, name)
    const token = expected?.token ?? at.key.token(name)
    asked.push({ name, token, directory: at.inode, expected })
    if (expected?.kind !== KIND.directory) break
    at = expected
  }
  return asked
}

export function tokensOf(asked: readonly Asked[]): Uint8Array {
  if (asked.length === 1) return asked[0]?.token ?? NO_BYTES
  return Buffer.concat(asked.map(({ token }) => token))
}
