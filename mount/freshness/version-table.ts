/**
 * The version table of a tree, as far as it is known here: bounds of inodes under a root digest.
 *
 * Pages come from a server that nobody trusts; each counts only where the page above has its digest, up
 * to the root, so what is found under a root is what was put there. Pages of other roots do no harm
 * and go when memory is needed. No I/O; memory is bounded.
 */
import { LRUCache } from 'lru-cache'
import type { TreePage } from '../../schema/generated/metadata.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import {
  decodeBounds,
  decodeDigests,
  encodeBounds,
  encodeDigests,
  INODES_MAX,
  levelOf,
  pageDigest,
  pageOf,
  slotOf,
  type Bounds,
  type Digests,
} from './version-pages.ts'

const TOP = limits.treeLevels - 1
/** Bytes of decoded pages kept; about 40 for a bound, 100 for a digest. */
const CACHE_BYTES = 32 * 1_048_576
const PAGE_BYTES = 256
const BOUND_BYTES = 40
const ENTRY_BYTES = 100

/** The root of a table without any bound. */
export const EMPTY_ROOT: Buffer = Buffer.alloc(32)

interface Page {
  readonly digest: Buffer
  /** Of a page of bounds. */
  readonly bounds: Bounds
  /** Of one above. */
  readonly digests: Digests
}

/** A table after changes: its root, and the pages that are other ones now. */
export interface ChangedTable {
  readonly root: Buffer
  readonly pages: readonly TreePage[]
}

const NO_BOUNDS: Bounds = new Map()
const NO_DIGESTS: Digests = new Map()

export class VersionTable {
  readonly #pages: LRUCache<number, Page>

  /** `cacheBytes` must have room for the pages of some requests. */
  constructor(cacheBytes: number = CACHE_BYTES) {
    this.#pages = new LRUCache({
      maxSize: cacheBytes,
      sizeCalculation: ({ bounds, digests }) =>
        PAGE_BYTES + bounds.size * BOUND_BYTES + digests.size * ENTRY_BYTES,
    })
  }

  /** What an inode's version is at least under `root`; undefined when pages are missing. */
  bound(root: Buffer, inode: number): number | undefined {
    if (inode >= INODES_MAX) return 0
    const page = this.#walk(root, inode)
    if (page === ABSENT) return 0
    return typeof page === 'number' ? undefined : (page.bounds.get(slotOf(inode, 0)) ?? 0)
  }

  /** Pages that must be had to know the bounds of `inodes` under `root`; at most what one request holds. */
  missing(root: Buffer, inodes: Iterable<number>): number[] {
    const missing = new Set<number>()
    for (const inode of inodes) {
      if (inode >= INODES_MAX) continue
      const found = this.#walk(root, inode)
      if (typeof found !== 'number') continue
      // What is below is likely to be there as well.
      const below = Array.from({ length: levelOf(found) + 1 }, (_, level) => pageOf(inode, level))
      if (missing.size + below.length > limits.treePagesPerRequestMax) break
      for (const page of below) missing.add(page)
    }
    return [...missing]
  }

  /** Keeps pages, whatever they are worth; what is no page at all is left out. */
  put(pages: Iterable<TreePage>): void {
    for (const { page, bytes } of pages) {
      if (bytes.length === 0) continue
      const digest = pageDigest(page, bytes)
      const bounds = levelOf(page) === 0 ? decodeBounds(bytes) : NO_BOUNDS
      const digests = levelOf(page) === 0 ? NO_DIGESTS : decodeDigests(bytes)
      if (bounds !== undefined && digests !== undefined) {
        this.#pages.set(page, { digest, bounds, digests })
      }
    }
  }

  /**
   * The table under `root` with every bound raised to what `changes` say; undefined when pages are
   * missing. No pages when nothing is new.
   */
  changed(root: Buffer, changes: ReadonlyMap<number, number>): ChangedTable | undefined {
    const pages: TreePage[] = []
    let touched = new Map<number, Map<number, Buffer>>()
    for (const [leaf, raised] of byLeaf(changes)) {
      const [inode] = raised.keys()
      invariant(inode !== undefined, 'a leaf is named by the inodes in it')
      const found = this.#walk(root, inode)
      if (typeof found === 'number') return undefined
      const bounds = new Map(found === ABSENT ? NO_BOUNDS : found.bounds)
      let differs = false
      for (const [id, bound] of raised) {
        const slot = slotOf(id, 0)
        if ((bounds.get(slot) ?? 0) >= bound) continue
        bounds.set(slot, bound)
        differs = true
      }
      if (!differs) continue
      const bytes = encodeBounds(bounds)
      pages.push({ page: leaf, bytes })
      put(touched, pageOf(inode, 1), slotOf(inode, 1), pageDigest(leaf, bytes))
    }
    let top = root
    for (let level = 1; level <= TOP; level++) {
      const above = new Map<number, Map<number, Buffer>>()
      for (const [page, slots] of touched) {
        const first = firstInodeOf(page)
        const digests = this.#digests(root, first, level)
        if (digests === undefined) return undefined
        const bytes = encodeDigests(new Map([...digests, ...slots]))
        pages.push({ page, bytes })
        const digest = pageDigest(page, bytes)
        if (level === TOP) top = digest
        else put(above, pageOf(first, level + 1), slotOf(first, level + 1), digest)
      }
      touched = above
    }
    return { root: top, pages }
  }

  /** Of a page above the bounds: the digests in it now; undefined when it must be had first. */
  #digests(root: Buffer, inode: number, level: number): Digests | undefined {
    const found = this.#walk(root, inode, level)
    if (found === ABSENT) return NO_DIGESTS
    return typeof found === 'number' ? undefined : found.digests
  }

  /** The page of `level` that is about `inode`; the number of the first one missing on the way. */
  #walk(root: Buffer, inode: number, level = 0): Page | number | typeof ABSENT {
    let digest = root
    if (digest.equals(EMPTY_ROOT)) return ABSENT
    for (let at = TOP; ; at--) {
      const number = pageOf(inode, at)
      const page = this.#pages.get(number)
      if (page === undefined || !page.digest.equals(digest)) return number
      if (at === level) return page
      const next = page.digests.get(slotOf(inode, at))
      if (next === undefined) return ABSENT
      digest = next
    }
  }
}

const ABSENT = Symbol('a page of zeros')

function byLeaf(changes: ReadonlyMap<number, number>): Map<number, Map<number, number>> {
  const leaves = new Map<number, Map<number, number>>()
  for (const [inode, bound] of changes) {
    if (inode < INODES_MAX) put(leaves, pageOf(inode, 0), inode, bound)
  }
  return leaves
}

function put<V>(groups: Map<number, Map<number, V>>, group: number, key: number, value: V): void {
  const known = groups.get(group)
  if (known === undefined) groups.set(group, new Map([[key, value]]))
  else known.set(key, value)
}

/** An inode number that a page is about. */
function firstInodeOf(page: number): number {
  const level = levelOf(page)
  return (page % 2 ** 48) * limits.treePageSlots ** (level + 1)
}
