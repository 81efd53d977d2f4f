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
import type { DentryRecord } from '../../../schema/generated/records.ts'
import { methods } from '../../../schema/methods.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { refuse } from '../input.ts'
import { isDirectory } from '../inode-kinds.ts'
import { whileOpen } from '../sessions.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
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
    const names = new Names(txn, tokens)
    // The first name is read beside the start, of which nothing is known yet.
    let name = names.next(base)
    const start = await ownInode(txn, caller, base)
    const entries: ResolvedEntry[] = []
    let at = start
    let missing = false
    while (name !== undefined && !missing) {
      const dentry = isDirectory(at) ? await name.dentry : undefined
      if (dentry === undefined) {
        missing = true
      } else {
        // So is each further name, beside the inode that it is looked for in.
        name = names.next(dentry.inode)
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

/** A name of the path, as it is read. */
interface Name {
  readonly dentry: DentryRecord | undefined | Promise<DentryRecord | undefined>
}

/** The names of a path, one after the other. */
class Names {
  readonly #txn: Transaction
  readonly #tokens: Uint8Array
  #at = 0

  constructor(txn: Transaction, tokens: Uint8Array) {
    this.#txn = txn
    this.#tokens = tokens
  }

  /** Begins to read the next name in what may be a directory; undefined when there is none left. */
  next(directory: number): Name | undefined {
    if (this.#at >= this.#tokens.length) return undefined
    const token = this.#tokens.subarray(this.#at, (this.#at += limits.tokenBytes))
    const dentry = this.#txn.get(tables.dentries, keys.dentry(directory, token))
    // The walk may end before it is asked how this ended.
    if (dentry instanceof Promise) dentry.catch(() => undefined)
    return { dentry }
  }
}
