/**
 * A session that asks the server nothing about the tree, and changes nothing, before it has had all
 * changes of names that are held back (`name-journal.ts`). So no answer misses one of them, and what a
 * commit makes durable has the name by which it was reached.
 */
import type { Operation } from '../../schema/generated/common.ts'
import { methods } from '../../schema/methods.ts'
import type { Method } from '../../schema/rpc/api.ts'
import type { MetadataSession } from '../client/api.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { NameJournal } from './name-journal.ts'

/** What has nothing to do with names and inodes. */
const APART: ReadonlySet<number> = new Set(
  [methods.plan, methods.statfs, methods.inodeNumbers, methods.reportChunk].map(({ id }) => id),
)

export class OrderedSession implements MetadataSession {
  readonly #session: MetadataSession
  readonly #journal: Pick<NameJournal, 'settle'>

  constructor(session: MetadataSession, journal: Pick<NameJournal, 'settle'>) {
    this.#session = session
    this.#journal = journal
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
  get lease(): MetadataSession['lease'] {
    return this.#session.lease
  }

  async read<Q, R>(method: Method<Q, R>, request: Q): Promise<R> {
    const settled = APART.has(method.id) ? undefined : this.#journal.settle()
    if (settled !== undefined) await settled
    return this.#session.read(method, request)
  }

  async mutate<Q extends { operation: Operation }, R>(
    method: Method<Q, R>,
    request: Omit<Q, 'operation'>,
  ): Promise<R> {
    const settled = this.#journal.settle()
    if (settled !== undefined) await settled
    return this.#session.mutate(method, request)
  }

  held(inode: number): void {
    this.#session.held(inode)
  }

  heldUntold(inode: number): void {
    this.#session.heldUntold(inode)
  }

  async tellHolds(inode?: number): Promise<void> {
    await this.#session.tellHolds(inode)
  }

  release(inode: number): void {
    this.#session.release(inode)
  }

  async close(): Promise<void> {
    await this.#session.close()
  }
}
