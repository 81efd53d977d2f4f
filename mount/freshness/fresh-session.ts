/**
 * A session that lets through no inode older than the version table says, and nothing at all once the
 * tree was turned back.
 *
 * The bound of every inode of an answer is known before the answer is given on, mostly without asking.
 * An inode is condemned only by a state that was known when the request was sent: then the server
 * had acknowledged that version before. By a state that came meanwhile the answer may just be late, and
 * the request is made again. Condemned inodes are given on, marked, so that their refusal can name the
 * path (`inode-verifier.ts`).
 */
import type { Inode, Operation } from '../../schema/generated/common.ts'
import type { Log, Method } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { MetadataSession } from '../client/api.ts'
import type { LeaseTerm } from '../client/lease.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import { tellerOf, versionMade, type Told } from './answers.ts'
import { Checkpoints, CHECKPOINT_MS } from './checkpoints.ts'
import { StateMemory } from './state-memory.ts'
import { TreeKeeper } from './tree-keeper.ts'
import { DEAD } from './version-pages.ts'

/** How often a request is made again because a newer state came while it was under way. */
const REPEATS_MAX = 8
/** Inodes whose bounds are made known together: their pages fit into the cache. */
const GROUP = 64
/** Milliseconds that a checkpoint may hold up a recall of the lease, and the end of the session. */
const RECALL_MS = 2_000
const CLOSE_MS = 5_000

export interface FreshOptions {
  readonly session: MetadataSession
  readonly log: Log
  /** The folder where this device remembers what it has seen; without one, it does until it ends. */
  readonly stateDir?: string | undefined
}

export class FreshSession implements MetadataSession {
  readonly lease: MetadataSession['lease']
  readonly #session: MetadataSession
  readonly #keeper: TreeKeeper
  readonly #checkpoints: Checkpoints
  readonly #held = new Map<number, number>()
  /** Inodes that are older than the version table says, and why. */
  readonly #condemned = new WeakMap<Inode, string>()
  #term: LeaseTerm | undefined
  #refreshedMs = performance.now()

  private constructor(
    session: MetadataSession,
    keeper: TreeKeeper,
    { log, term }: { readonly log: Log; readonly term: LeaseTerm | undefined },
  ) {
    this.#session = session
    this.#keeper = keeper
    this.#term = term
    this.#checkpoints = new Checkpoints(keeper, log)
    this.lease = {
      get term() {
        return keeper.refused === undefined ? session.lease.term : undefined
      },
      get fresh() {
        return keeper.refused === undefined ? session.lease.fresh : undefined
      },
      onRecall: (recalled) => {
        session.lease.onRecall(async () => {
          await recalled()
          await this.#checkpoints.settle(RECALL_MS)
        })
      },
    }
  }

  /** Throws `rolledBack` when the server's tree does not follow from what this device has seen. */
  static async open({ session, log, stateDir }: FreshOptions): Promise<FreshSession> {
    const { rootKey } = session
    const memory = stateDir === undefined ? undefined : new StateMemory(stateDir, rootKey, log)
    const { term } = session.lease
    const keeper = await TreeKeeper.open({ session, log, memory })
    return new FreshSession(session, keeper, { log, term })
  }

  get id(): number {
    return this.#session.id
  }
  get userId(): number {
    return this.#session.userId
  }
  get device(): number {
    return this.#session.device
  }
  get rootInode(): number {
    return this.#session.rootInode
  }
  get rootKey(): InodeKey {
    return this.#session.rootKey
  }
  get replicas(): number {
    return this.#session.replicas
  }
  get writeQuorum(): number {
    return this.#session.writeQuorum
  }

  /** Throws `rolledBack` once that is so: also what is in memory is served no more. */
  requireTree(): void {
    if (this.#keeper.refused !== undefined) throw this.#keeper.refused
  }

  /** Why an inode of an answer is too old to be true; undefined when it is not. */
  condemned(inode: Inode): string | undefined {
    return this.#condemned.get(inode)
  }

  /** The server has acknowledged this version of an inode. */
  changed(inode: number, version: number): void {
    this.#checkpoints.changed(inode, version)
  }

  /** The server has acknowledged that this inode, known here under the name it had, lost the last one. */
  removed(inode: number): void {
    this.#checkpoints.removed(inode)
  }

  async read<Q, R>(method: Method<Q, R>, request: Q): Promise<R> {
    this.requireTree()
    const tell = tellerOf(method)
    if (tell === undefined) return this.#session.read(method, request)
    if (this.#isDue) await this.#refresh()
    // Held now or when the answer comes: what is open may have lost its names.
    const asked = (request as { readonly inode?: number }).inode
    const wasOpen = asked !== undefined && this.#held.has(asked)
    for (let repeats = 0; ; repeats++) {
      const { counter } = this.#keeper
      const response = await this.#session.read(method, request)
      const told = tell(request, response)
      try {
        const old = await this.#older(told, wasOpen)
        if (old.size === 0) return response
        if (this.#keeper.counter === counter || repeats === REPEATS_MAX) {
          return this.#condemn(told, old, response)
        }
      } catch (error) {
        this.#undoHold(told)
        throw error
      }
      this.#undoHold(told)
    }
  }

  async mutate<Q extends { operation: Operation }, R>(
    method: Method<Q, R>,
    request: Omit<Q, 'operation'>,
  ): Promise<R> {
    this.requireTree()
    const response = await this.#session.mutate(method, request)
    const made = versionMade(method, request, response)
    if (made !== undefined) this.changed(made.inode, made.version)
    return response
  }

  /** Whether this mount has an inode open, or is about to. */
  isHeld(inode: number): boolean {
    return this.#held.has(inode)
  }

  held(inode: number): void {
    this.#held.set(inode, (this.#held.get(inode) ?? 0) + 1)
    this.#session.held(inode)
  }

  heldUntold(inode: number): void {
    this.#held.set(inode, (this.#held.get(inode) ?? 0) + 1)
    this.#session.heldUntold(inode)
  }

  async tellHolds(inode?: number): Promise<void> {
    await this.#session.tellHolds(inode)
  }

  release(inode: number): void {
    const count = this.#held.get(inode) ?? 0
    if (count > 1) this.#held.set(inode, count - 1)
    else this.#held.delete(inode)
    this.#session.release(inode)
  }

  /** Writes the last checkpoint. The session below is its owner's to close. */
  async close(): Promise<void> {
    await this.#checkpoints.close(CLOSE_MS)
  }

  /** With the lease nobody else changes the tree; without, what others have done is asked for. */
  get #isDue(): boolean {
    const { term } = this.#session.lease
    if (term !== this.#term) return true
    return term === undefined && performance.now() - this.#refreshedMs > CHECKPOINT_MS
  }

  async #refresh(): Promise<void> {
    this.#refreshedMs = performance.now()
    this.#term = this.#session.lease.term
    await this.#keeper.refresh()
  }

  /** Those inodes of an answer that are older than they can be, with the bound of each. */
  async #older(told: Told, wasOpen: boolean): Promise<Map<Inode, number>> {
    const older = new Map<Inode, number>()
    for (let first = 0; first < told.inodes.length; first += GROUP) {
      const group = told.inodes.slice(first, first + GROUP)
      const fetching = this.#keeper.fetch(group.map(({ inode }) => inode))
      if (fetching !== undefined) await fetching
      for (const inode of group) {
        let bound = this.#keeper.bound(inode.inode)
        while (bound === undefined) {
          await this.#keeper.fetch([inode.inode])
          bound = this.#keeper.bound(inode.inode)
        }
        const open = inode.inode === told.asked && (wasOpen || this.#held.has(told.asked))
        if (inode.attributes.version < bound && !(bound === DEAD && open)) older.set(inode, bound)
      }
    }
    return older
  }

  /** Marks what is too old. Throws `staleInode` for a removed one that was not asked for by name. */
  #condemn<R>(told: Told, older: ReadonlyMap<Inode, number>, response: R): R {
    for (const [inode, bound] of older) {
      if (bound !== DEAD) {
        const why = `version ${inode.attributes.version}, and ${bound} was there before: an older one`
        this.#condemned.set(inode, `${why} is shown again`)
        continue
      }
      if (inode.inode === told.asked) {
        throw new DfsError('staleInode', `inode ${inode.inode} was removed`)
      }
      this.#condemned.set(inode, 'it was removed, and is shown again')
    }
    return response
  }

  #undoHold({ held }: Told): void {
    if (held === undefined) return
    this.#session.held(held)
    this.#session.release(held)
  }
}
