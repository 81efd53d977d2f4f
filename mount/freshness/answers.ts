/**
 * Which inodes answers tell of, and which versions changes make: what there is to check and to remember.
 */
import type { Inode } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import type { Method } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'

/** What an answer tells. */
export interface Told {
  readonly inodes: readonly Inode[]
  /** The one that was asked for by its number. */
  readonly asked?: number
  /** The one that the server holds for us since. */
  readonly held?: number | undefined
}

export interface MadeVersion {
  readonly inode: number
  readonly version: number
}

type Reader<T> = (request: unknown, response: unknown) => T

function row<Q, R, T>(
  method: Method<Q, R>,
  read: (request: Q, response: R) => T,
): [number, Reader<T>] {
  return [method.id, (request, response) => read(request as Q, response as R)]
}

const tellers = new Map<number, Reader<Told>>([
  row(methods.resolve, ({ tokens, hold }, { base, entries }) => {
    const whole = entries.length * limits.tokenBytes === tokens.length
    const inodes = [base, ...entries.map(({ inode }) => inode)]
    return { inodes, held: hold && whole ? inodes.at(-1)?.inode : undefined }
  }),
  row(methods.getInode, ({ inode, hold }, response) => ({
    inodes: [response.inode],
    asked: inode,
    held: hold ? response.inode.inode : undefined,
  })),
  row(methods.list, (_request, { entries }) => ({
    // A damaged inode is not told of.
    inodes: entries.flatMap(({ inode }) => inode ?? []),
  })),
  row(methods.readWindows, ({ inode }, response) => ({ inodes: [response.inode], asked: inode })),
  row(methods.readXattrs, ({ inode }, response) => ({ inodes: [response.inode], asked: inode })),
])

/** How to read the answers of a method; undefined for those without inodes. */
export function tellerOf(method: { readonly id: number }): Reader<Told> | undefined {
  return tellers.get(method.id)
}

const makers = new Map<number, Reader<MadeVersion>>([
  row(methods.create, ({ attributes }, { inode }) => ({
    inode: inode.inode,
    version: attributes.version,
  })),
  row(methods.birth, ({ inode, attributes }) => ({ inode, version: attributes.version })),
  row(methods.setAttributes, ({ inode, attributes }) => ({ inode, version: attributes.version })),
  row(methods.commit, ({ inode, attributes }) => ({ inode, version: attributes.version })),
])

/** The version that a change made: what was sent, not what the server says of it. */
export function versionMade(
  method: { readonly id: number },
  request: unknown,
  response: unknown,
): MadeVersion | undefined {
  return makers.get(method.id)?.(request, response)
}
