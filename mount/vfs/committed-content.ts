/**
 * A file as the metadata server has it: its inode, and the extents of the windows that were needed
 * so far, each checked against the digests that the owner sealed.
 *
 * A newer inode may come at any time, with any answer. When its content is another, what was known
 * of the old one is forgotten and asked for again when needed.
 */
import type { Extent, Inode } from '../../schema/generated/common.ts'
import type { ReadWindowsResponse, Window } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { manifestDigest, windowDigest } from '../../schema/wire/content.ts'
import { overlay } from '../../schema/wire/extents.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import { isWorthRewriting } from './compaction-plan.ts'
import type { Context } from './context.ts'
import { checkedWindows } from './extent-check.ts'
import {
  digestOf,
  EMPTY_CONTENT_DIGEST,
  manifestBytes,
  sameDigest,
  type Manifest,
} from './manifest.ts'
import { Patch } from './patch.ts'

const WINDOW_BYTES = limits.chunkBytesMax
const NO_EXTENTS: readonly Extent[] = []
/** Bytes of a patch that take as much memory as an extent. */
const BYTES_PER_EXTENT = 100
const NO_BYTES = new Uint8Array(0)
/** Windows of one file whose extents are kept: mostly one each, and so many when they are many. */
const WINDOWS_KEPT_MAX = 256
/** Windows that are kept at least, however many extents they have. */
export const FULL_WINDOWS_KEPT = 32
const EXTENTS_KEPT_MAX = FULL_WINDOWS_KEPT * limits.windowExtentsMax
/** Requests under way for the windows of one large file. */
const REQUESTS_AT_ONCE = 16
/** How often content is asked for again because it changed meanwhile. */
const ATTEMPTS_MAX = 8

/** A window as the server has it. */
export interface StoredWindow {
  /** Without what lies in the patch over them. */
  readonly extents: readonly Extent[]
  readonly patch: Patch | undefined
}

/** And as reads see it: `visible` has the patch over the extents. */
interface KeptWindow extends StoredWindow {
  readonly visible: readonly Extent[]
}

const NO_WINDOW: StoredWindow = { extents: NO_EXTENTS, patch: undefined }

type ReadWindows = Pick<Context, 'session' | 'verifier' | 'locations'>

export class CommittedContent {
  readonly key: InodeKey
  readonly #context: ReadWindows
  /** Called after content that was known became another. */
  onChange: () => void = () => undefined
  #inode: Inode
  #inline: Uint8Array = NO_BYTES
  /** Window digests; undefined when they are not known yet. */
  #manifest: Manifest | undefined
  /** In the order in which they came; the oldest goes first. */
  readonly #windows = new Map<number, KeptWindow>()
  /** Extents that our commits went through since a window was rewritten last, by window. */
  readonly #handled = new Map<number, number>()
  /** Windows asked for at once; fewer when they have too many extents for one answer. */
  #perRequest: number = limits.windowsPerRequestMax
  readonly #loading = new Map<number, Promise<void>>()

  /** `inode` is verified. */
  constructor(context: ReadWindows, inode: Inode, key: InodeKey) {
    this.#context = context
    this.key = key
    this.#inode = inode
    this.#takeContent(inode)
  }

  get inode(): Inode {
    return this.#inode
  }

  /** Content of a small file, empty for all others. */
  get inline(): Uint8Array {
    return this.#inline
  }

  /** Takes a verified inode in, unless a newer one is known. */
  adopt(inode: Inode): void {
    const known = this.#inode.attributes
    const { version, contentDigest } = inode.attributes
    if (version < known.version) return
    const changed = !sameDigest(contentDigest, known.contentDigest)
    this.#inode = inode
    if (!changed) return
    this.#takeContent(inode)
    this.onChange()
  }

  /** Takes in what a commit of ours made: the verified inode and the windows it changed. */
  adoptCommitted(
    inode: Inode,
    manifest: Manifest,
    windows: ReadonlyMap<number, StoredWindow>,
  ): void {
    if (inode.attributes.version < this.#inode.attributes.version) return
    this.#inode = inode
    this.#inline = NO_BYTES
    this.#manifest = manifest
    for (const window of this.#windows.keys()) {
      if (manifest.has(window)) continue
      this.#windows.delete(window)
      this.#handled.delete(window)
    }
    for (const [window, stored] of windows) {
      const handled = (this.#handled.get(window) ?? 0) + stored.extents.length
      this.#handled.set(window, handled)
      this.#keep(window, stored)
    }
    this.onChange()
  }

  /**
   * The extents of a window as reads see them, or undefined when they must be loaded. Those that name
   * {@link patchNamed} are for this mount only.
   */
  window(window: number): readonly Extent[] | undefined {
    const known = this.#windows.get(window)
    if (known !== undefined) return known.visible
    return this.#manifest?.has(window) === false ? NO_EXTENTS : undefined
  }

  /** A window as the server has it, or undefined when it must be loaded. */
  stored(window: number): StoredWindow | undefined {
    const known = this.#windows.get(window)
    if (known !== undefined) return known
    return this.#manifest?.has(window) === false ? NO_WINDOW : undefined
  }

  /** The patch of a known window whose bytes extents name by `id`. */
  patchNamed(id: number): Patch | undefined {
    for (const { patch } of this.#windows.values()) if (patch?.id === id) return patch
    return undefined
  }

  /** Extents that are kept in memory, and what patches take beside them. */
  get extentCount(): number {
    let count = 0
    for (const { visible, patch } of this.#windows.values()) {
      count += visible.length + Math.ceil((patch?.plainBytes ?? 0) / BYTES_PER_EXTENT)
    }
    return count
  }

  /** A known window that has more than `count` extents. */
  windowWithMoreThan(count: number): number | undefined {
    for (const [window, { extents }] of this.#windows) if (extents.length > count) return window
    return undefined
  }

  /** A known window whose extents have cost our commits more than rewriting it would. */
  get windowWorthRewriting(): number | undefined {
    for (const [window, handled] of this.#handled) {
      const { extents } = this.#windows.get(window) ?? NO_WINDOW
      if (isWorthRewriting(extents, handled)) return window
    }
    return undefined
  }

  /** What the extents of `window` have cost counts from here on. */
  startRewriting(window: number): void {
    this.#handled.delete(window)
  }

  /** A known window whose extents name `chunk`. */
  windowNaming(chunk: number): number | undefined {
    for (const [window, { extents }] of this.#windows) {
      if (extents.some((extent) => extent.chunk === chunk)) return window
    }
    return undefined
  }

  /** The digests of all windows, or undefined when they must be loaded. */
  get manifest(): Manifest | undefined {
    return this.#manifest
  }

  /** Bytes that windows of this file can be at: the number of windows up to its size. */
  get windowCount(): number {
    return Math.ceil(this.#inode.attributes.size / WINDOW_BYTES)
  }

  /** Asks for the inode again. */
  async refresh(): Promise<void> {
    const { session, verifier } = this.#context
    const started = verifier.start()
    const { inode } = await session.read(methods.getInode, {
      inode: this.#inode.inode,
      hold: false,
    })
    this.#verify(inode, started)
    this.adopt(inode)
  }

  /** Makes `window` known, or the manifest when `window` is undefined. */
  async load(window: number | undefined): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (this.#manifest !== undefined) {
        if (window === undefined || this.window(window) !== undefined) return
        await this.#loadShared(window, 1)
      } else {
        await this.#loadWhole()
      }
    }
    throw new DfsError(
      'versionConflict',
      `inode ${this.#inode.inode} changes faster than it can be read; try again`,
    )
  }

  /** Forgets what is known of `window`, so that its extents and tickets are asked for again. */
  async reload(window: number): Promise<void> {
    for (const { chunk } of this.#windows.get(window)?.extents ?? NO_EXTENTS) {
      this.#context.locations.forget(chunk)
    }
    this.#windows.delete(window)
    this.onChange()
    await this.load(window)
  }

  async #loadShared(first: number, count: number): Promise<void> {
    const known = this.#loading.get(first)
    if (known !== undefined) return known
    const loading = this.#loadWindows(first, count).finally(() => {
      this.#loading.delete(first)
    })
    this.#loading.set(first, loading)
    return loading
  }

  /** Loads windows [first, first + count); all of the file's when the manifest is not known. */
  async #loadWindows(first: number, count: number): Promise<void> {
    const response = await this.#readWindows(first, count)
    this.adopt(response.inode)
    if (!this.#isCurrent(response)) return
    const windows = checkedWindows(response, first, count)
    if (this.#manifest === undefined) {
      const manifest: Manifest = new Map()
      for (const [index, window] of windows) manifest.set(index, digestOfWindow(window))
      if (this.windowCount > first + count || first !== 0) return
      this.#verifyManifest(manifest)
      this.#manifest = manifest
    }
    for (let index = first; index < first + count; index++) {
      const window = windows.get(index)
      const sealed = this.#manifest.get(index)
      if (!sameDigest(window && digestOfWindow(window), sealed)) {
        throw this.#notAuthentic(`the extents of window ${index} are not those that were sealed`)
      }
      if (window !== undefined) {
        const patch = Patch.open(this.key, index, window.patch)
        this.#keep(index, { extents: window.extents, patch })
      }
    }
    this.#context.locations.learn(response)
  }

  /** Makes the manifest known, and with it the windows of a file that has few of them. */
  async #loadWhole(): Promise<void> {
    try {
      if (this.windowCount <= this.#perRequest) await this.#loadShared(0, this.#perRequest)
      else await this.#loadManifest()
    } catch (error) {
      const tooMany = error instanceof DfsError && error.code === 'frameTooLarge'
      if (!tooMany || this.#perRequest === 1) throw error
      this.#perRequest = Math.floor(this.#perRequest / 2)
    }
  }

  /** Digests of all windows of a file that has more of them than one answer holds. */
  async #loadManifest(): Promise<void> {
    const manifest: Manifest = new Map()
    const { version } = this.#inode.attributes
    const count = this.#perRequest
    for (let first = 0; first < this.windowCount; first += count * REQUESTS_AT_ONCE) {
      const firsts = Array.from({ length: REQUESTS_AT_ONCE }, (_, index) => first + index * count)
      const requests = firsts.filter((at) => at < this.windowCount)
      const answers = requests.map(async (at) => this.#readWindows(at, count))
      await Promise.allSettled(answers)
      for (const [index, response] of (await Promise.all(answers)).entries()) {
        this.adopt(response.inode)
        // An answer that a newer one overtook would mix two versions.
        if (response.inode.attributes.version !== version) return
        if (this.#inode.attributes.version !== version) return
        for (const [at, window] of checkedWindows(response, requests[index] ?? 0, count)) {
          manifest.set(at, digestOfWindow(window))
        }
      }
    }
    this.#verifyManifest(manifest)
    this.#manifest = manifest
  }

  async #readWindows(first: number, count: number): Promise<ReadWindowsResponse> {
    const { session, verifier } = this.#context
    const started = verifier.start()
    const response = await session.read(methods.readWindows, {
      inode: this.#inode.inode,
      first,
      count,
    })
    this.#verify(response.inode, started)
    return response
  }

  #isCurrent({ inode }: ReadWindowsResponse): boolean {
    return sameDigest(inode.attributes.contentDigest, this.#inode.attributes.contentDigest)
  }

  #verify(inode: Inode, started: number): void {
    if (inode.inode !== this.#inode.inode) {
      throw this.#notAuthentic(`the server answered for inode ${inode.inode}`)
    }
    this.#context.verifier.verify(inode, this.key, started, 'open file')
  }

  #verifyManifest(manifest: Manifest): void {
    const digest = manifestDigest(manifestBytes(manifest))
    if (!sameDigest(digest, this.#inode.attributes.contentDigest)) {
      throw this.#notAuthentic('its extents are not those that were sealed')
    }
  }

  #takeContent(inode: Inode): void {
    const { contentDigest } = inode.attributes
    this.#windows.clear()
    this.#handled.clear()
    this.#inline = NO_BYTES
    this.#manifest = undefined
    if (sameDigest(contentDigest, EMPTY_CONTENT_DIGEST)) {
      this.#manifest = new Map()
    } else if (inode.inline.length > 0) {
      this.#inline = openedInline(inode, this.key)
      this.#manifest = new Map()
    }
  }

  #keep(window: number, { extents, patch }: StoredWindow): void {
    this.#windows.delete(window)
    if (extents.length === 0 && patch === undefined) {
      this.#handled.delete(window)
      return
    }
    const visible = patch === undefined ? extents : overlay(extents, patch.extents)
    this.#windows.set(window, { extents, patch, visible })
    let kept = this.#windows.size > FULL_WINDOWS_KEPT ? this.extentCount : 0
    for (const [
      oldest,
      {
        visible: { length },
      },
    ] of this.#windows) {
      if (this.#windows.size <= WINDOWS_KEPT_MAX && kept <= EXTENTS_KEPT_MAX) return
      this.#windows.delete(oldest)
      this.#handled.delete(oldest)
      kept -= length
    }
  }

  #notAuthentic(detail: string): DfsError {
    return new DfsError('notAuthentic', `inode ${this.#inode.inode}: ${detail}`)
  }
}

/** The sealed content of a small file or a symbolic link's target, opened. Throws `notAuthentic`. */
export function openedInline(inode: Inode, key: InodeKey): Buffer {
  if (!sameDigest(digestOf(inode.inline), inode.attributes.contentDigest)) {
    const detail = `inode ${inode.inode}: its content is not what was sealed with it`
    throw new DfsError('notAuthentic', detail)
  }
  const plain = key.openInline(inode.inline)
  if (plain.length !== inode.attributes.size) {
    const detail = `inode ${inode.inode}: ${plain.length} bytes of content, its size says ${inode.attributes.size}`
    throw new DfsError('notAuthentic', detail)
  }
  return plain
}

const digestOfWindow = ({ extents, patch }: Window): Uint8Array => windowDigest(extents, patch)
