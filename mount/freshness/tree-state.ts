/**
 * The state of a tree, as its owner's devices sign it: the root of the version table, and for every
 * device how many states it has made. Pure but for node:crypto.
 *
 * In SUNDR's manner these counts order the states: each device builds on a state that it has verified and
 * counts itself up by one, so of two states in one history one has no smaller count than the other for
 * any device. A server that shows one device an older state, or two devices states that do not know of
 * each other, has to show a count that goes back. It cannot make a state itself: the MAC is under a key
 * derived from the secret of the root directory.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import { EMPTY_ROOT } from './version-table.ts'

const FORMAT = 1
const LINEAGE_BYTES = 16
const DIGEST_BYTES = 32
const MAC_BYTES = 32
const ROW_BYTES = 12
/** u8 format, lineage, u64 counter, root digest, u16 rows. */
const HEAD_BYTES = 1 + LINEAGE_BYTES + 8 + DIGEST_BYTES + 2
/** Devices that may have written; more have to wait for {@link genesis}. */
const ROWS_MAX = Math.floor((limits.treeStateBytesMax - HEAD_BYTES - MAC_BYTES) / ROW_BYTES)

export interface TreeState {
  /** Random; another one when the owner has started anew knowingly. */
  readonly lineage: Buffer
  /** States before this one, and itself. */
  readonly counter: number
  /** The version table's. */
  readonly root: Buffer
  /** States that each device has made. */
  readonly rows: ReadonlyMap<number, number>
  /** As it is stored, with its MAC. */
  readonly bytes: Buffer
}

/** The first state of a history, made by `device`; `counter` is what the server counts it as. */
export function genesis(
  key: InodeKey,
  { device, counter = 1, root = EMPTY_ROOT }: { device: number; counter?: number; root?: Buffer },
): TreeState {
  const rows = new Map([[device, 1]])
  return sealed(key, { lineage: randomBytes(LINEAGE_BYTES), counter, root, rows })
}

/** The state after `state` that `device` makes. Throws `tooManyRequests` when too many devices have. */
export function successor(
  key: InodeKey,
  { lineage, counter, rows }: TreeState,
  { device, root }: { readonly device: number; readonly root: Buffer },
): TreeState {
  const counts = new Map(rows).set(device, (rows.get(device) ?? 0) + 1)
  if (counts.size > ROWS_MAX) {
    throw new DfsError('tooManyRequests', `more than ${ROWS_MAX} devices have written this tree`)
  }
  return sealed(key, { lineage, counter: counter + 1, root, rows: counts })
}

/** Reads what {@link successor} or {@link genesis} made. Throws `notAuthentic` for anything else. */
export function openState(key: InodeKey, stored: Uint8Array): TreeState {
  const bytes = Buffer.from(stored)
  const refuse = (why: string): DfsError =>
    new DfsError('notAuthentic', `state of the tree: ${why}`)
  const signedBytes = bytes.length - MAC_BYTES
  if (signedBytes < HEAD_BYTES) throw refuse('too short')
  const signed = bytes.subarray(0, signedBytes)
  if (!timingSafeEqual(key.treeStateMac(signed), bytes.subarray(signedBytes))) {
    throw refuse('none of this account made it')
  }
  if (bytes[0] !== FORMAT) {
    throw new DfsError('notSupported', `state of the tree: format ${bytes[0]}, of a newer dfs`)
  }
  const counter = Number(bytes.readBigUInt64LE(1 + LINEAGE_BYTES))
  const rows = new Map<number, number>()
  const count = bytes.readUInt16LE(HEAD_BYTES - 2)
  if (HEAD_BYTES + count * ROW_BYTES !== signedBytes) throw refuse('of another length')
  for (let at = HEAD_BYTES; at < signedBytes; at += ROW_BYTES) {
    rows.set(bytes.readUInt32LE(at), Number(bytes.readBigUInt64LE(at + 4)))
  }
  const rootAt = 1 + LINEAGE_BYTES + 8
  return {
    lineage: bytes.subarray(1, 1 + LINEAGE_BYTES),
    counter,
    root: bytes.subarray(rootAt, rootAt + DIGEST_BYTES),
    rows,
    bytes,
  }
}

/** How `a` stands to `b`: `apart` when no history has both. */
export type Order = 'same' | 'older' | 'newer' | 'apart'

export function orderOf(a: TreeState, b: TreeState): Order {
  if (a.bytes.equals(b.bytes)) return 'same'
  if (!a.lineage.equals(b.lineage)) return 'apart'
  if (a.counter < b.counter) return dominates(b, a) ? 'older' : 'apart'
  if (a.counter > b.counter) return dominates(a, b) ? 'newer' : 'apart'
  return 'apart'
}

const dominates = (newer: TreeState, older: TreeState): boolean =>
  [...older.rows].every(([device, count]) => (newer.rows.get(device) ?? 0) >= count)

function sealed(key: InodeKey, state: Omit<TreeState, 'bytes'>): TreeState {
  const { lineage, counter, root, rows } = state
  const signed = Buffer.alloc(HEAD_BYTES + rows.size * ROW_BYTES)
  let at = signed.writeUInt8(FORMAT, 0)
  at += lineage.copy(signed, at)
  at = signed.writeBigUInt64LE(BigInt(counter), at)
  at += root.copy(signed, at)
  at = signed.writeUInt16LE(rows.size, at)
  for (const [device, count] of [...rows].sort(([a], [b]) => a - b)) {
    at = signed.writeUInt32LE(device, at)
    at = signed.writeBigUInt64LE(BigInt(count), at)
  }
  return { ...state, bytes: Buffer.concat([signed, key.treeStateMac(signed)]) }
}
