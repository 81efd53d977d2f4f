/**
 * What the metadata server does by itself from time to time: ends sessions that nobody takes up,
 * removes orphans that nobody holds, rotates ticket keys, goes on removing deleted users, forgets expired
 * join tokens. A turn that
 * fails is logged and tried again with the next.
 */
import { DfsError } from '../../schema/wire/status.ts'
import type { Services } from './services.ts'
import { ranges } from './store/keys.ts'
import { tables } from './store/tables.ts'

const TURN_MS = 5_000
/** Turns between looks at the join tokens: an hour. */
const TOKENS_EVERY = 720
const PAGE = 1_000

export class Housekeeping {
  readonly #services: Services
  #timer: NodeJS.Timeout | undefined
  #turn: Promise<void> | undefined
  #turns = 0

  constructor(services: Services) {
    this.#services = services
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#turn ??= this.#run().finally(() => (this.#turn = undefined))
    }, TURN_MS)
    this.#timer.unref()
  }

  /** Waits for the turn under way. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#turn
  }

  async #run(): Promise<void> {
    const { log } = this.#services
    try {
      await this.#services.sessions.sweep()
      await this.#reapOrphans()
      await this.#services.ticketKeys.rotate()
      this.#services.userRemoval.wake()
      if (this.#turns++ % TOKENS_EVERY === 0) await this.#dropTokens()
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      log.warn({ code: error.code, err: error.message }, 'housekeeping failed; it will be repeated')
    }
  }

  async #reapOrphans(): Promise<void> {
    const { holds, purger } = this.#services
    for (const inode of holds.free()) await purger.reap(inode)
  }

  async #dropTokens(): Promise<void> {
    const { database, clock } = this.#services
    let after: Buffer | undefined
    for (;;) {
      const page = await database.durablePage(ranges.joinTokens, PAGE, after)
      const now = clock.nowNs()
      const expired = page.entries.filter(
        ({ value }) => tables.joinTokens.decode(value).expires < now,
      )
      if (expired.length > 0) {
        await database.write({}, (txn) => {
          for (const { key } of expired) txn.delete(tables.joinTokens, key)
        })
      }
      after = page.last
      if (after === undefined || !page.more) return
    }
  }
}
