/**
 * One commit request and what became of it, also when its answer is lost.
 */
import type { Inode } from '../../schema/generated/common.ts'
import type { CommitRequest } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { sameDigest } from './manifest.ts'
import type { SharedFile } from './shared-file.ts'

export type CommitBody = Omit<CommitRequest, 'operation'>

/**
 * Sends a commit. The verified inode after it, or undefined when the file is another by now and the
 * commit must be made anew.
 */
export async function send(file: SharedFile, body: CommitBody): Promise<Inode | undefined> {
  const { session, verifier, leased } = file.context
  const { committed } = file
  const started = verifier.start()
  const change = leased.change([], [body.inode])
  try {
    const { inode } = await session.mutate(methods.commit, body)
    verifier.verify(inode, committed.key, started, file.path)
    change.inode(inode)
    return inode
  } catch (error) {
    if (!(error instanceof DfsError) || !outcomeOpen(error)) throw error
    await committed.refresh()
    const { inode } = committed
    if (sameDigest(inode.attributes.seal, body.attributes.seal)) {
      file.context.freshness.changed(inode.inode, inode.attributes.version)
      return inode
    }
    if (error.code === 'versionConflict') return undefined
    throw error
  } finally {
    change.end()
  }
}

/** Whether the commit may have taken effect although it failed, or needs the newest version. */
function outcomeOpen({ code }: DfsError): boolean {
  return code === 'versionConflict' || code === 'connectionLost' || code === 'deadlineExceeded'
}
