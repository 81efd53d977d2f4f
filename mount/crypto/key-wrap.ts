/**
 * Wrapping one key with another: what a server may keep of a user's keys.
 *
 * The chain is: password → OPAQUE's export key → master key → root directory's secret; and for a
 * device, its wrapping key → master key; and recovery code → master key. Each wrap names its purpose and whose it is, so that a
 * server cannot pass one off as another.
 */
import { hkdfSync, randomBytes } from 'node:crypto'
import { DfsError } from '../../schema/wire/status.ts'
import { openBox, sealBox } from './sealed-box.ts'

/** Bytes of the master key, of a device's wrapping key, and of every other key that is wrapped. */
export const KEY_BYTES = 32

const NO_SALT = Buffer.alloc(0)

/** What a wrap is for: which key is wrapped, and under which. */
type WrapPurpose =
  'master by password' | 'master by device' | 'master by recovery' | 'root by master'

/** Names the owner in a wrap: the user's name, and for a device also its public key. */
export interface WrapContext {
  readonly purpose: WrapPurpose
  readonly owner: string
}

/** A new master key or wrapping key. */
export function generateKey(): Buffer {
  return randomBytes(KEY_BYTES)
}

/** Wraps `key` under `wrapping`, which may be of any length but must be secret and random. */
export function wrapKey(wrapping: Uint8Array, context: WrapContext, key: Uint8Array): Buffer {
  const sealing = wrappingKey(wrapping, context.purpose)
  try {
    return sealBox(sealing, associated(context), key)
  } finally {
    sealing.fill(0)
  }
}

/** Opens a wrap. Throws `notAuthentic` when it is not this owner's, for this purpose, under this key. */
export function unwrapKey(wrapping: Uint8Array, context: WrapContext, wrapped: Uint8Array): Buffer {
  const sealing = wrappingKey(wrapping, context.purpose)
  try {
    const what = `wrapped key (${context.purpose}) of ${context.owner}`
    const key = openBox(sealing, associated(context), wrapped, what)
    if (key.length !== KEY_BYTES) throw new DfsError('notAuthentic', `${what}: not a key`)
    return key
  } finally {
    sealing.fill(0)
  }
}

function wrappingKey(wrapping: Uint8Array, purpose: WrapPurpose): Buffer {
  return Buffer.from(hkdfSync('sha256', wrapping, NO_SALT, `dfs v1 wrap ${purpose}`, KEY_BYTES))
}

function associated({ purpose, owner }: WrapContext): Buffer {
  return Buffer.from(`dfs wrap v1\0${purpose}\0${owner}`)
}
