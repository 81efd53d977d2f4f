/**
 * Handlers for listings: opendir, readdir with and without attributes, releasedir, fsyncdir.
 *
 * A directory is read whole when a program begins to list it, and handed out from memory in pages: so
 * it may be changed meanwhile, and positions (telldir(3)) hold. Attributes go along only while they are
 * known to be true still; without them the kernel asks for those that it needs.
 */
import { constants } from 'node:fs'
import { DfsError } from '../../../schema/wire/status.ts'
import { encodeName } from '../../crypto/name-bytes.ts'
import type { DirectoryEntry } from '../../vfs/api.ts'
import { direntBytes, writeDirent, writeEntry } from '../encoding.ts'
import type { KernelRequest } from '../kernel-request.ts'
import type { Node } from '../node-table.ts'
import { ENTRY_BYTES } from '../protocol.ts'
import { byPath, nodeOf, perform, type Handler, type HandlerContext } from './context.ts'

/** An open directory. */
interface Listing {
  readonly node: Node
  /** Without `.` and `..`; undefined until it was read. */
  entries: readonly DirectoryEntry[] | undefined
  soleUse: object | undefined
  /** When the reading began, as the node table counts. */
  moment: number
}

/** Positions before that of the first entry: those of `.` and `..`. */
const DOTS = 2
const UNKNOWN = { nodeId: 0, keptMs: 0, attributesMs: 0 } as const

export function listingHandlers(
  context: HandlerContext,
): Record<'opendir' | 'readdir' | 'readdirplus' | 'releasedir' | 'fsyncdir', Handler> {
  const { fs, nodes, replies, requests, cache } = context
  /** Bounded by the directories that programs have open. */
  const listings = new Map<number, Listing>()
  let lastHandle = 0

  const read = async (listing: Listing): Promise<void> => {
    listing.soleUse = cache.soleUse
    listing.moment = nodes.now
    const entries: DirectoryEntry[] = []
    await byPath(context, listing.node, async (path) => {
      for await (const entriesOfPage of fs.listPages(path)) entries.push(...entriesOfPage)
    })
    listing.entries = entries
  }

  const page = (request: KernelRequest, plus: boolean): void => {
    const { unique, nodeId } = request
    const listing = listings.get(request.u64(0))
    const from = request.u64(8)
    const bytesMax = request.u32(16)
    if (listing === undefined) throw new DfsError('badHandle', 'a directory that is not open')
    const answer = (code: number): void => {
      if (code < 0) replies.code(unique, code)
      else sendPage(context, unique, listing, { from, bytesMax, plus })
    }
    if (from > 0 && listing.entries !== undefined) answer(requests.stopped ?? 0)
    else requests.run('readdir', nodeOf(context, nodeId), () => read(listing), answer)
  }

  return {
    opendir({ unique, nodeId }) {
      const node = nodeOf(context, nodeId)
      const handle = ++lastHandle
      listings.set(handle, { node, entries: undefined, soleUse: undefined, moment: 0 })
      if (!replies.opened(unique, { handle, flags: 0 })) listings.delete(handle)
    },
    readdir(request) {
      page(request, false)
    },
    readdirplus(request) {
      page(request, true)
    },
    releasedir(request) {
      listings.delete(request.u64(0))
      replies.code(request.unique, 0)
    },
    fsyncdir({ unique, nodeId }) {
      const node = nodeOf(context, nodeId)
      perform(context, 'fsyncdir', node, unique, () => fs.fsyncDirectory())
    },
  }
}

interface Page {
  /** Position of its first entry. */
  readonly from: number
  readonly bytesMax: number
  readonly plus: boolean
}

/** As many entries as fit. */
function sendPage(
  context: HandlerContext,
  unique: number,
  listing: Listing,
  { from, bytesMax, plus }: Page,
): void {
  const { nodes, replies, cache } = context
  const { entries = [], soleUse, moment, node } = listing
  const { room } = replies
  const max = Math.min(bytesMax, room.length)
  const holds = plus && node.changed <= moment
  const keptMs = holds ? cache.keptMs(soleUse) : 0
  const told: number[] = []
  let at = 0
  for (let position = from; position < entries.length + DOTS; position++) {
    const entry = entries[position - DOTS]
    const name = entry?.name ?? (position === 0 ? '.' : '..')
    const headBytes = plus ? ENTRY_BYTES : 0
    const nameBytes = encodeName(name)
    const bytes = headBytes + direntBytes(nameBytes.length)
    if (at + bytes > max) break
    const stat = entry?.stat
    if (plus) {
      // Of a damaged inode nothing is known but its kind.
      const isKnown =
        keptMs > 0 &&
        stat !== undefined &&
        stat.nlink > 0 &&
        nodes.unchangedSince(moment, stat.inode)
      if (isKnown) {
        const found = nodes.found(node, name, stat, moment)
        told.push(found.id)
        const attributesMs = cache.attributesMs(found, keptMs)
        writeEntry(room, at, { nodeId: found.id, keptMs, attributesMs }, stat)
      } else writeEntry(room, at, UNKNOWN, undefined)
    }
    const about = stat ?? dots(node, position)
    const { inode, mode } = about
    writeDirent(room, at + headBytes, { inode, mode, name: nameBytes }, position + 1)
    at += bytes
  }
  if (replies.built(unique, at)) return
  for (const id of told) nodes.forget(id, 1)
}

/** The directory itself, and the one above it. */
function dots(node: Node, position: number): { readonly inode: number; readonly mode: number } {
  const { inode } = position === 0 ? node : (node.dentry?.parent ?? node)
  return { inode, mode: constants.S_IFDIR }
}
