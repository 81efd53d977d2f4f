/**
 * Takes apart, in the background, what deleted users stored. The user's record says that it is to be
 * done and goes last, so a kill at any moment costs nothing.
 *
 * All inodes of the store are looked at, page by page: that finds also what no path leads to. Nothing
 * can be added meanwhile, since the user's sessions ended before.
 */
import type { Log } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { Holds } from './holds.ts'
import { isDirectory } from './inode-kinds.ts'
import { removeInode } from './inode-removal.ts'
import type { Purger } from './purger.ts'
import { counterNames } from './store/counters.ts'
import type { Database } from './store/database.ts'
import { keys, parts, ranges } from './store/keys.ts'
import { keysOf } from './store/page.ts'
import { tables } from './store/tables.ts'

/** Inodes looked at, or entries removed, at once. */
const PAGE = 256

interface Parts {
  readonly database: Database
  readonly purger: Purger
  readonly holds: Holds
  readonly log: Log
}

export class UserRemoval {
  readonly #parts: Parts
  readonly #users = new Set<number>()
  #work: Promise<void> | undefined
  #stopped = false

  constructor(services: Parts) {
    this.#parts = services
  }

  /** Finds what an earlier process left. */
  async load(): Promise<void> {
    let after: Buffer | undefined
    for (;;) {
      const page = await this.#parts.database.durablePage(ranges.users, PAGE, after)
      for (const { value } of page.entries) {
        const { userId, deleting } = tables.users.decode(value)
        if (deleting) this.#users.add(userId)
      }
      after = page.last
      if (after === undefined || !page.more) return
    }
  }

  /** A user whose record says that he is deleted, and whose sessions have ended. */
  add(user: number): void {
    this.#users.add(user)
    this.wake()
  }

  /** Goes on with what is to be done; to be called now and then, since what failed waits for it. */
  wake(): void {
    if (this.#stopped || this.#work !== undefined || this.#users.size === 0) return
    this.#work = this.#run().finally(() => (this.#work = undefined))
  }

  /** Waits for the step under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#work
  }

  async #run(): Promise<void> {
    for (const user of this.#users) {
      try {
        if (await this.#remove(user)) this.#users.delete(user)
      } catch (error) {
        if (!(error instanceof DfsError)) throw error
        const { code, message } = error
        this.#parts.log.error({ user, code, err: message }, 'could not remove a user; trying again')
      }
    }
  }

  /** Returns whether everything is gone. */
  async #remove(user: number): Promise<boolean> {
    const { database, log } = this.#parts
    // What the ended sessions had decided before.
    await database.settle()
    let after: Buffer | undefined
    for (;;) {
      // Whose a damaged inode was, nobody knows: it stays.
      const page = await database.durablePage(ranges.inodes, PAGE, after)
      for (const { key, value } of page.entries) {
        if (this.#stopped) return false
        if (tables.inodes.decode(value).owner !== user) continue
        while (!(await this.#step(parts.id(key))));
      }
      after = page.last
      if (after === undefined || !page.more) break
    }
    while (!(await this.#dropTreeState(user))) if (this.#stopped) return false
    const name = await database.write({}, async (txn) => {
      const record = await txn.get(tables.users, keys.user(user))
      if (record?.deleting !== true) return undefined
      txn.delete(tables.users, keys.user(user))
      txn.delete(tables.numbers, keys.userName(record.user))
      if (record.opaqueRecord !== '') txn.add(counterNames.users, -1)
      return record.user
    })
    log.info({ user, name }, 'nothing is left of a deleted user')
    return true
  }

  /** Removes some pages of the user's version table; returns whether it and its state are gone. */
  #dropTreeState(user: number): Promise<boolean> {
    const { database } = this.#parts
    return database.write({}, async (txn) => {
      const pages = await txn.durableRange(ranges.treePages(user), PAGE)
      let bytes = 0
      for (const { key, value } of pages) {
        txn.delete(tables.treePages, key)
        bytes += tables.treePages.decode(value).bytes.length
      }
      if (bytes > 0) txn.add(counterNames.treeBytes(user), -bytes)
      if (pages.length === PAGE) return false
      txn.delete(tables.treeStates, keys.treeState(user))
      return true
    })
  }

  /** Removes an inode, or some entries of a directory; returns whether the inode is gone. */
  #step(inode: number): Promise<boolean> {
    const { database, purger, holds } = this.#parts
    return database.write({ queues: [inode] }, async (txn) => {
      const record = await txn.get(tables.inodes, keys.inode(inode))
      if (record === undefined) return true
      const entries = isDirectory(record)
        ? keysOf(await txn.durablePage(ranges.dentries(inode), PAGE))
        : []
      for (const key of entries) txn.delete(tables.dentries, key)
      if (entries.length === PAGE) return false
      removeInode(txn, record, purger)
      txn.delete(tables.marks, keys.orphan(inode))
      txn.afterDecision(() => holds.gone(inode))
      return true
    })
  }
}
