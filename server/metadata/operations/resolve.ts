/**
 * resolve: walks from an inode down a path of tokens, in one request.
 *
 * Ends early, without an error, at a name that does not exist and at an inode that is no directory:
 * the client sees from the number of entries how far it came. `staleInode` only for the start.
 */
import type {
  ResolvedEntry,
  ResolveRequest,
  ResolveResponse,
} from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { refuse } from '../input.ts'
import { isDirectory } from '../inode-kinds.ts'
import { whileOpen } from '../sessions.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Query } from './operation.ts'
import { entryInode, ownInode } from './tree.ts'

export const resolve: Query<ResolveRequest, ResolveResponse> = {
  method: methods.resolve,
  check({ tokens }) {
    const depth = tokens.length / limits.tokenBytes
    if (!Number.isInteger(depth))
      refuse(`${tokens.length} bytes of tokens; each has ${limits.tokenBytes}`)
    if (depth > limits.resolveDepthMax) {
      refuse(`a path of ${depth} names; at most ${limits.resolveDepthMax} at once`)
    }
  },

  async run(txn, { base, tokens, hold }, caller, services) {
    const start = await ownInode(txn, caller, base)
    const entries: ResolvedEntry[] = []
    let at = start
    let missing = false
    for (let i = 0; i < tokens.length && !missing; i += limits.tokenBytes) {
      const token = tokens.subarray(i, i + limits.tokenBytes)
      const dentry = isDirectory(at)
        ? await txn.get(tables.dentries, keys.dentry(at.inode.inode, token))
        : undefined
      if (dentry === undefined) {
        missing = true
      } else {
        at = await entryInode(txn, dentry.inode)
        entries.push({ entry: dentry.entry, inode: at.inode })
      }
    }
    if (hold && !missing) {
      const session = caller.session.record.session
      const held = at.inode.inode
      services.holds.checkRoom(session)
      whileOpen(txn, caller.session)
      txn.afterDecision(() => services.holds.add(session, held))
    }
    return { entries, base: start.inode }
  },
}
