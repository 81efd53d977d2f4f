/**
 * What a device remembers of the states of its tree, in its profile's folder: the newest one that it has
 * verified or made, so that the next mount refuses an older one.
 *
 * Every state is a file of its own, `tree-<account>-<counter>-<digest>`, mode 0600, that appears whole
 * and durable; those that it follows go after that. So processes that share a profile need no lock: a
 * slow one cannot overwrite what another remembers.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { Log } from '../../schema/rpc/api.ts'
import { writeDurably } from '../client/durable-file.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import { openState, orderOf, type TreeState } from './tree-state.ts'

/** Hex digits of a file's name. */
const ACCOUNT_DIGITS = 16
const DIGEST_DIGITS = 16
/** Decimal digits of 2^53. */
const COUNTER_DIGITS = 16
const ACCOUNT = Buffer.from('which account')

export class StateMemory {
  readonly #dir: string
  readonly #key: InodeKey
  readonly #log: Log
  readonly #prefix: string

  /** Remembers in the folder `dir` what concerns the account whose root directory has `key`. */
  constructor(dir: string, key: InodeKey, log: Log) {
    this.#dir = dir
    this.#key = key
    this.#log = log
    // Of its own for an account that was made anew under an old name.
    const account = key.treeStateMac(ACCOUNT).toString('hex').slice(0, ACCOUNT_DIGITS)
    this.#prefix = `tree-${account}-`
  }

  /**
   * All states that are remembered and follow from no other; more than one only if this device's own
   * mounts were shown different trees.
   */
  async recall(): Promise<TreeState[]> {
    const states = (await this.#files()).map(({ state }) => state)
    return states.filter((state) => !states.some((other) => orderOf(state, other) === 'older'))
  }

  /** Remembers a state beside those that it does not follow from; durable when it resolves. */
  async remember(state: TreeState): Promise<void> {
    await this.#write(state)
    for (const known of await this.#files()) {
      if (orderOf(known.state, state) === 'older') await this.#forget(known.name)
    }
  }

  /** Remembers this state and nothing else. */
  async replace(state: TreeState): Promise<void> {
    await this.#write(state)
    for (const known of await this.#files()) {
      if (!known.state.bytes.equals(state.bytes)) await this.#forget(known.name)
    }
  }

  async #write(state: TreeState): Promise<void> {
    await writeDurably(this.#dir, this.#nameOf(state), state.bytes, `.${this.#prefix}`)
  }

  async #files(): Promise<{ name: string; state: TreeState }[]> {
    const files: { name: string; state: TreeState }[] = []
    for (const name of await this.#names()) {
      const path = join(this.#dir, name)
      try {
        if ((await stat(path)).size > limits.treeStateBytesMax) continue
        files.push({ name, state: openState(this.#key, await readFile(path)) })
      } catch (error) {
        // Another process of this device has seen a newer one in between.
        if (isAbsence(error)) continue
        if (!(error instanceof DfsError)) throw error
        const fields = { path, cause: error.message }
        this.#log.warn(fields, 'what was remembered of the tree is damaged and counts for nothing')
      }
    }
    return files
  }

  async #names(): Promise<string[]> {
    try {
      const names = await readdir(this.#dir)
      return names.filter((name) => name.startsWith(this.#prefix))
    } catch (error) {
      if (isAbsence(error)) return []
      throw error
    }
  }

  async #forget(name: string): Promise<void> {
    await rm(join(this.#dir, name), { force: true })
  }

  #nameOf({ counter, bytes }: TreeState): string {
    const digest = createHash('sha256').update(bytes).digest('hex').slice(0, DIGEST_DIGITS)
    return `${this.#prefix}${String(counter).padStart(COUNTER_DIGITS, '0')}-${digest}`
  }
}

const isAbsence = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'
