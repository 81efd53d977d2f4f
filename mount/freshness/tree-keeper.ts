/**
 * Keeps what this device knows of the tree's state: takes newer ones from the server, refuses those that
 * do not follow from what it knows, fetches pages of the version table, and writes a checkpoint of the
 * inodes that were changed here.
 *
 * A bound is a version that the server had acknowledged before its checkpoint was written; so in a tree
 * that was not turned back every inode is at least as new, whatever was going on. What was changed
 * since the last checkpoint is merely not protected yet: some seconds.
 */
import type { Log } from '../../schema/rpc/api.ts'
import type { ReadTreeStateResponse, TreePage } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { MetadataSession } from '../client/api.ts'
import type { Changes } from './changes.ts'
import { refusal } from './refusal.ts'
import type { StateMemory } from './state-memory.ts'
import { genesis, openState, orderOf, successor, type TreeState } from './tree-state.ts'
import { EMPTY_ROOT, VersionTable, type ChangedTable } from './version-table.ts'

/** How often pages are asked for while others keep changing them. */
const FETCHES_MAX = 16
/** Numbers that a log line names. */
const TOLD_MAX = 8
/** How often a checkpoint starts over because another device was faster. */
const CONFLICTS_MAX = 16

export interface KeeperOptions {
  readonly session: Pick<MetadataSession, 'read' | 'rootKey' | 'device'>
  readonly log: Log
  /** Without one, what is known is forgotten with the process. */
  readonly memory: StateMemory | undefined
}

export class TreeKeeper {
  readonly #session: KeeperOptions['session']
  readonly #log: Log
  readonly #memory: StateMemory | undefined
  readonly #table = new VersionTable()
  /** The newest state that this process has verified or made. */
  #state: TreeState | undefined
  /** What an answer to a request that is sent now has to follow from; also by other processes' word. */
  #floor: TreeState | undefined
  #refused: DfsError | undefined
  #fetching: Promise<void> | undefined
  /** What is seen could not be remembered, and that was told. */
  #forgetful = false

  private constructor({ session, log, memory }: KeeperOptions) {
    this.#session = session
    this.#log = log
    this.#memory = memory
  }

  /** Asks for the state. Throws `rolledBack` when it does not follow from what this device knows. */
  static async open(options: KeeperOptions): Promise<TreeKeeper> {
    const keeper = new TreeKeeper(options)
    await keeper.#recall()
    await keeper.refresh()
    return keeper
  }

  /** Why nothing of this tree is to be believed any more, once that is so. */
  get refused(): DfsError | undefined {
    return this.#refused
  }

  /** The count of the state that bounds are taken from. */
  get counter(): number {
    return this.#state?.counter ?? 0
  }

  /** What an inode's version is at least; to be called after {@link fetch} of it. */
  bound(inode: number): number | undefined {
    return this.#table.bound(this.#root, inode)
  }

  /** Asks for the newest state. Throws `rolledBack`. */
  async refresh(): Promise<void> {
    await this.#ask([])
  }

  /**
   * Makes the bounds of inodes known; undefined when they are. Throws `notAuthentic` when the server
   * does not give the pages that its own state vouches for.
   */
  fetch(inodes: readonly number[]): Promise<void> | undefined {
    return this.#table.missing(this.#root, inodes).length === 0 ? undefined : this.#fetch(inodes)
  }

  /** Writes some of the changes; returns whether there was nothing left to write. Throws `rolledBack`. */
  async checkpoint(changes: Changes): Promise<boolean> {
    const batch = changes.batch()
    if (batch.size === 0) return true
    for (let conflicts = 0; conflicts <= CONFLICTS_MAX; conflicts++) {
      await this.fetch([...batch.keys()])
      const changed = this.#table.changed(this.#root, batch)
      if (changed === undefined) continue
      if (changed.pages.length === 0 || (await this.#write(changed))) {
        changes.written(batch)
        return false
      }
    }
    throw new DfsError('versionConflict', 'other devices change the state of the tree all the time')
  }

  get #root(): Buffer {
    return this.#state?.root ?? EMPTY_ROOT
  }

  async #fetch(inodes: readonly number[]): Promise<void> {
    for (let fetches = 0; fetches < FETCHES_MAX;) {
      const { counter } = this
      const missing = this.#table.missing(this.#root, inodes)
      if (missing.length === 0) return
      if (this.#fetching !== undefined) {
        // Perhaps of the same pages.
        await this.#fetching.catch(() => undefined)
        continue
      }
      fetches++
      this.#fetching = this.#ask(missing).finally(() => {
        this.#fetching = undefined
      })
      await this.#fetching
      const still = this.#table.missing(this.#root, inodes)
      if (this.counter === counter && still[0] === missing[0]) break
    }
    const pages = this.#table.missing(this.#root, inodes)
    this.#log.error(
      { inodes: inodes.slice(0, TOLD_MAX), pages: pages.slice(0, TOLD_MAX), counter: this.counter },
      'the metadata server gave pages of the version table that are not those of its state',
    )
    throw new DfsError('notAuthentic', 'the pages of the version table are not those of its state')
  }

  /** One request for state and pages. */
  async #ask(pages: number[]): Promise<void> {
    const floor = this.#floor
    const response = await this.#session.read(methods.readTreeState, { pages })
    this.#table.put(response.pages)
    await this.#take(this.#open(response, floor), floor)
  }

  /** Replaces the state; false when another device was faster. */
  async #write({ root, pages }: ChangedTable): Promise<boolean> {
    const before = this.#state
    const { rootKey, device } = this.#session
    const next =
      before === undefined
        ? genesis(rootKey, { device, root })
        : successor(rootKey, before, { device, root })
    const written = await this.#swap(before?.counter ?? 0, next, pages)
    if (!written) {
      await this.refresh()
      // An earlier attempt may have arrived although its answer did not.
      if (this.#state?.bytes.equals(next.bytes) !== true) return false
    }
    this.#table.put(pages)
    await this.#take(next, before)
    return true
  }

  async #swap(counter: number, next: TreeState, pages: readonly TreePage[]): Promise<boolean> {
    try {
      const request = { counter, state: next.bytes, pages: [...pages] }
      await this.#session.read(methods.writeTreeState, request)
      return true
    } catch (error) {
      if (error instanceof DfsError && error.code === 'versionConflict') return false
      throw error
    }
  }

  #open(
    { state, counter }: ReadTreeStateResponse,
    floor: TreeState | undefined,
  ): TreeState | undefined {
    if (state.length === 0) return undefined
    try {
      const opened = openState(this.#session.rootKey, state)
      if (opened.counter === counter) return opened
      throw new DfsError('notAuthentic', `state ${opened.counter} of the tree given as ${counter}`)
    } catch (error) {
      if (floor === undefined || !(error instanceof DfsError)) throw error
      if (error.code !== 'notAuthentic') throw error
      throw this.#refuse(refusal(undefined, floor), error)
    }
  }

  /** Takes what an answer told; it must follow from what was known when it was asked for. */
  async #take(given: TreeState | undefined, floor: TreeState | undefined): Promise<void> {
    if (floor !== undefined) {
      const order = given === undefined ? 'older' : orderOf(given, floor)
      if (order === 'older' || order === 'apart') throw this.#refuse(refusal(given, floor))
    }
    if (given === undefined) return
    // Answers may overtake each other.
    const order = this.#state === undefined ? 'newer' : orderOf(given, this.#state)
    if (order === 'same' || order === 'older') return
    if (order === 'apart' && this.#state !== undefined) {
      throw this.#refuse(refusal(given, this.#state))
    }
    this.#state = given
    if (this.#floor === undefined || orderOf(given, this.#floor) === 'newer') this.#floor = given
    await this.#remember(given)
  }

  async #remember(state: TreeState): Promise<void> {
    if (this.#memory === undefined) return
    try {
      await this.#memory.remember(state)
    } catch (error) {
      // A full or unwritable disk, and nothing else.
      if (!(error instanceof Error) || !('code' in error)) throw error
      if (this.#forgetful) return
      this.#forgetful = true
      this.#log.error(
        { err: error },
        "the profile's folder cannot be written: after this mount an older tree would not be noticed",
      )
      return
    }
    this.#forgetful = false
    await this.#recall()
  }

  /** Learns what other processes of this device know. */
  async #recall(): Promise<void> {
    const [known, ...others] = (await this.#memory?.recall()) ?? []
    if (known === undefined) return
    const [other] = others
    if (other !== undefined) throw this.#refuse(refusal(other, known))
    if (this.#floor === undefined || orderOf(known, this.#floor) !== 'older') this.#floor = known
  }

  #refuse(error: DfsError, cause?: DfsError): DfsError {
    if (this.#refused === undefined) {
      this.#refused = error
      const fields = { code: error.code, cause: (cause ?? error).message }
      this.#log.error(fields, `nothing of this tree is served any more: ${error.message}`)
    }
    return this.#refused
  }
}
