/**
 * Inode numbers that the server gave to this session for files that it does not know yet. They are
 * asked for ahead of need, and go with the session.
 */
import { methods } from '../../schema/methods.ts'
import type { Log } from '../../schema/rpc/api.ts'
import type { MetadataSession } from '../client/api.ts'

/** More are asked for when fewer are left. */
const LEFT_MIN = 1_024

export class InodeNumbers {
  readonly #session: Pick<MetadataSession, 'id' | 'read'>
  readonly #log: Log
  /** Whose numbers they are. */
  #owner = 0
  #ranges: { next: number; readonly end: number }[] = []
  #asking = false

  constructor(session: Pick<MetadataSession, 'id' | 'read'>, log: Log) {
    this.#session = session
    this.#log = log
  }

  /** A number that nobody has had; undefined when none is at hand. */
  take(): number | undefined {
    const { id } = this.#session
    if (id !== this.#owner) {
      this.#owner = id
      this.#ranges = []
    }
    const left = this.#ranges.reduce((sum, { next, end }) => sum + end - next, 0)
    if (left < LEFT_MIN) void this.#more(id)
    const [range] = this.#ranges
    if (range === undefined) return undefined
    const number = range.next++
    if (range.next >= range.end) this.#ranges.shift()
    return number
  }

  async #more(owner: number): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    try {
      const { first, count } = await this.#session.read(methods.inodeNumbers, {})
      // Numbers that another session was given meanwhile are left alone.
      if (owner !== this.#owner || owner !== this.#session.id || count === 0) return
      this.#ranges.push({ next: first, end: first + count })
    } catch (error) {
      this.#log.warn({ err: error }, 'no inode numbers: new files are made at the server meanwhile')
    } finally {
      this.#asking = false
    }
  }
}
