/**
 * The pages of a version table, byte by byte (docs/format.md): what each inode's version is at least,
 * and the digests that lead from one root to all of it. Pure.
 *
 * Level 0 has pages of bounds, 1,024 inode numbers each; every level above has pages of 1,024 digests.
 * What is not there is zero: no bound, or a page without any.
 */
import { createHash } from 'node:crypto'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'

const SLOTS = limits.treePageSlots
const LEVELS = limits.treeLevels
const FORMAT = 1
const DIGEST_BYTES = 32
const DOMAIN = Buffer.from('dfs tree page v1\0')
/** A page's number is its level times this, and its index. */
const LEVEL = 2 ** 48
/** Bytes of a number of 7 bits each at most: 2^53. */
const VARINT_BYTES_MAX = 8

/** The bound of an inode that was removed: above every version. */
export const DEAD = Infinity
/** Inode numbers that a table can hold bounds of. */
export const INODES_MAX = SLOTS ** LEVELS

/** What a page says: of each slot that is not zero, a bound or a digest. */
export type Bounds = ReadonlyMap<number, number>
export type Digests = ReadonlyMap<number, Buffer>

/** The page of `level` that an inode's bound is in or below. */
export function pageOf(inode: number, level: number): number {
  return level * LEVEL + Math.floor(inode / SLOTS ** (level + 1))
}

/** Where in that page. */
export function slotOf(inode: number, level: number): number {
  return Math.floor(inode / SLOTS ** level) % SLOTS
}

export const levelOf = (page: number): number => Math.floor(page / LEVEL)

/** The digest of a page; bound to its place, so that no page passes for another. */
export function pageDigest(page: number, bytes: Uint8Array): Buffer {
  const place = Buffer.alloc(8)
  place.writeBigUInt64LE(BigInt(page))
  return createHash('sha256').update(DOMAIN).update(place).update(bytes).digest()
}

/** A page of bounds; runs of removed inodes take a few bytes. Nothing for a page without any. */
export function encodeBounds(bounds: Bounds): Uint8Array {
  if (bounds.size === 0) return NO_BYTES
  const bytes = [FORMAT]
  let next = 0
  const slots = [...bounds.keys()].sort(ascending)
  for (let at = 0; at < slots.length; at++) {
    const slot = slots[at]
    const bound = slot === undefined ? undefined : bounds.get(slot)
    invariant(slot !== undefined && bound !== undefined && bound > 0, 'a bound is above zero')
    pushVarint(bytes, slot - next)
    next = slot + 1
    if (bound !== DEAD) {
      pushVarint(bytes, bound)
      continue
    }
    while (slots[at + 1] === next && bounds.get(next) === DEAD) {
      at++
      next++
    }
    bytes.push(0)
    pushVarint(bytes, next - slot)
  }
  return Uint8Array.from(bytes)
}

/** What {@link encodeBounds} made; undefined for what it cannot have made. */
export function decodeBounds(bytes: Uint8Array): Bounds | undefined {
  const bounds = new Map<number, number>()
  const reader = new VarintReader(bytes)
  let slot = 0
  while (!reader.atEnd) {
    slot += reader.varint()
    const bound = reader.varint()
    const run = bound === 0 ? reader.varint() : 1
    if (reader.broken || run === 0 || slot + run > SLOTS) return undefined
    for (const end = slot + run; slot < end; slot++) bounds.set(slot, bound === 0 ? DEAD : bound)
  }
  return reader.broken ? undefined : bounds
}

export function encodeDigests(digests: Digests): Uint8Array {
  if (digests.size === 0) return NO_BYTES
  const parts: Uint8Array[] = [Buffer.of(FORMAT)]
  let next = 0
  for (const slot of [...digests.keys()].sort(ascending)) {
    const gap: number[] = []
    pushVarint(gap, slot - next)
    next = slot + 1
    parts.push(Uint8Array.from(gap), digests.get(slot) ?? NO_BYTES)
  }
  return Buffer.concat(parts)
}

/** What {@link encodeDigests} made; undefined for what it cannot have made. */
export function decodeDigests(bytes: Uint8Array): Digests | undefined {
  const digests = new Map<number, Buffer>()
  const reader = new VarintReader(bytes)
  for (let slot = 0; !reader.atEnd; slot++) {
    slot += reader.varint()
    const digest = reader.bytes(DIGEST_BYTES)
    if (digest === undefined || slot >= SLOTS) return undefined
    digests.set(slot, digest)
  }
  return reader.broken ? undefined : digests
}

const NO_BYTES = new Uint8Array(0)
const ascending = (a: number, b: number): number => a - b

function pushVarint(into: number[], value: number): void {
  let left = value
  while (left > 0x7f) {
    into.push(0x80 | (left % 0x80))
    left = Math.floor(left / 0x80)
  }
  into.push(left)
}

class VarintReader {
  readonly #bytes: Uint8Array
  #at = 0
  broken = false

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    if (bytes.length > 0) this.broken = bytes[this.#at++] !== FORMAT
  }

  get atEnd(): boolean {
    return this.broken || this.#at >= this.#bytes.length
  }

  varint(): number {
    let value = 0
    for (let length = 0; length < VARINT_BYTES_MAX; length++) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) break
      value += (byte & 0x7f) * 0x80 ** length
      if (byte < 0x80 && value <= Number.MAX_SAFE_INTEGER) return value
    }
    this.broken = true
    return 0
  }

  bytes(count: number): Buffer | undefined {
    const end = this.#at + count
    if (this.broken || end > this.#bytes.length) return undefined
    const bytes = Buffer.from(this.#bytes.subarray(this.#at, end))
    this.#at = end
    return bytes
  }
}
