/**
 * readTreeState, writeTreeState: what a user's devices keep here to tell an old tree from the newest.
 *
 * State and pages are the client's and authentic by themselves; here they are bytes with a count. A
 * write names the state that it replaces, so of two that build on one only the first succeeds; the
 * other gets `versionConflict`. State and pages change in one batch. Pages exist only for inode numbers
 * that were given out, and all of a user's together have a bound that grows with the user's inodes.
 */
import type {
  Empty,
  ReadTreeStateRequest,
  ReadTreeStateResponse,
  WriteTreeStateRequest,
} from '../../../schema/generated/metadata.ts'
import { methods } from '../../../schema/methods.ts'
import { limits } from '../../../schema/wire/limits.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import { checkDistinct, refuse } from '../input.ts'
import { RequestTimes } from '../request-times.ts'
import type { Caller, Services } from '../services.ts'
import { whileOpen } from '../sessions.ts'
import { counterNames } from '../store/counters.ts'
import { keys } from '../store/keys.ts'
import { tables } from '../store/tables.ts'
import type { Transaction } from '../store/transaction.ts'
import type { Query } from './operation.ts'

/** A page's number is its level times this, and its index. */
const LEVEL = 2 ** 48
/** Bytes of a user's pages: what removed inodes leave, and more for each that is there. */
const BYTES_MAX = 16 * 1_048_576
const BYTES_PER_INODE_MAX = 256
/** Pages that are read with about the work of one small read. */
const PAGES_PER_COST = 8

export const readTreeState: Query<ReadTreeStateRequest, ReadTreeStateResponse> = {
  method: methods.readTreeState,
  check: ({ pages }) => checkPages(pages),
  cost: ({ pages }) => 1 + Math.floor(pages.length / PAGES_PER_COST),
  async run(txn, { pages }, { user }) {
    const record = await txn.get(tables.treeStates, keys.treeState(user))
    const found = await txn.getAll(
      tables.treePages,
      pages.map((page) => keys.treePage(user, page)),
    )
    return {
      counter: record?.counter ?? 0,
      state: record?.state ?? NO_BYTES,
      pages: pages.map((page, at) => ({ page, bytes: found[at]?.bytes ?? NO_BYTES })),
    }
  },
}

export async function writeTreeState(
  { counter, state, pages }: WriteTreeStateRequest,
  { user, session }: Caller,
  { database, inodeIds }: Services,
  times = new RequestTimes(),
): Promise<Empty> {
  if (state.length === 0 || state.length > limits.treeStateBytesMax) {
    refuse(`a tree's state of ${state.length} bytes; it has at most ${limits.treeStateBytesMax}`)
  }
  checkPages(pages.map(({ page }) => page))
  for (const { page, bytes } of pages) {
    if (firstInode(page) >= inodeIds.next) refuse(`page ${page} is of inodes that never were`)
    if (bytes.length > limits.treePageBytesMax) refuse(`${bytes.length} bytes for page ${page}`)
  }
  const numbers = pages.map(({ page }) => keys.treePage(user, page))
  return database.write({ times }, async (txn) => {
    whileOpen(txn, session)
    const stored = (await txn.get(tables.treeStates, keys.treeState(user)))?.counter ?? 0
    if (stored !== counter) {
      const detail = `the tree's state is number ${stored}, not ${counter}; read it again`
      throw new DfsError('versionConflict', detail)
    }
    const before = await txn.getAll(tables.treePages, numbers)
    let growth = 0
    for (const [at, { page, bytes }] of pages.entries()) {
      growth += bytes.length - (before[at]?.bytes.length ?? 0)
      const key = keys.treePage(user, page)
      if (bytes.length > 0) txn.put(tables.treePages, key, { bytes })
      else txn.delete(tables.treePages, key)
    }
    addTreeBytes(txn, user, growth, database.counters.get(counterNames.userInodes(user)))
    txn.put(tables.treeStates, keys.treeState(user), { counter: counter + 1, state })
    return {}
  })
}

const NO_BYTES = new Uint8Array(0)

/** The lowest inode number that a page is about. */
function firstInode(page: number): number {
  return (page % LEVEL) * limits.treePageSlots ** (Math.floor(page / LEVEL) + 1)
}

function checkPages(pages: readonly number[]): void {
  const max = limits.treePagesPerRequestMax
  if (pages.length > max) refuse(`${pages.length} pages; at most ${max} at once`)
  checkDistinct(pages, 'a page')
  const wrong = pages.find((page) => page >= limits.treeLevels * LEVEL)
  if (wrong !== undefined) refuse(`page ${wrong} is of no level`)
}

function addTreeBytes(txn: Transaction, user: number, growth: number, inodes: number): void {
  if (growth === 0) return
  const max = BYTES_MAX + BYTES_PER_INODE_MAX * inodes
  const refuseGrowth = (): never => {
    throw new DfsError('quotaExceeded', `a version table of more than ${max} bytes`)
  }
  const limit = growth < 0 ? undefined : { max, refuse: refuseGrowth }
  txn.add(counterNames.treeBytes(user), growth, limit)
}
