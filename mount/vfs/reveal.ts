/**
 * What the metadata server holds for a path, as it holds it: the one thing of this folder that is about
 * the records and not about the files.
 */
import type { ServerAddress } from '../../schema/generated/common.ts'
import type { StoredRecord } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { MetadataSession } from '../client/api.ts'
import { DentryCache } from './dentry-cache.ts'
import { InodeVerifier } from './inode-verifier.ts'
import { LeasedTree } from './leased-tree.ts'
import { componentsOf } from './path.ts'
import { Tree } from './tree.ts'

export interface Revealed {
  /** Entry, inode, extended attributes, windows and chunks. */
  readonly records: readonly StoredRecord[]
  /** The chunkservers that the chunk records name. */
  readonly servers: readonly ServerAddress[]
}

/** Asks for the records of what `path` names. Throws `notFound` and what a walk of the path throws. */
export async function revealPath(
  session: MetadataSession,
  path: string,
  log: Log,
): Promise<Revealed> {
  const leased = new LeasedTree(session.lease)
  const context = { session, verifier: new InodeVerifier(log), leased }
  // This one holds nothing back.
  const tree = new Tree(context, new DentryCache(), {
    settle: async () => undefined,
    learn: async () => undefined,
  })
  const { inode } = (await tree.resolve(path)).inode
  let [parent, token]: [number, Uint8Array] = [0, new Uint8Array(0)]
  if (componentsOf(path).length > 0) {
    const { directory, name } = await tree.parentOf(path)
    ;[parent, token] = [directory.inode.inode, directory.key.token(name)]
  }
  const records: StoredRecord[] = []
  const servers = new Map<number, ServerAddress>()
  for (let firstWindow = 0; ;) {
    const request = { inode, parent, token, firstWindow }
    const answer = await session.read(methods.reveal, request)
    records.push(...answer.records)
    for (const server of answer.servers) servers.set(server.id, server)
    if (answer.nextWindow === 0) return { records, servers: [...servers.values()] }
    if (answer.nextWindow <= firstWindow) {
      throw new DfsError('frameMalformed', `${path}: the metadata server goes on with no window`)
    }
    firstWindow = answer.nextWindow
  }
}
