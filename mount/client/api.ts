/**
 * What the file system (mount/vfs) needs from the servers: a session with the metadata server, and
 * chunks. Implemented in this folder; sealing is done here, so that above it there is plaintext and
 * below it there is none.
 */
import type { Method } from '../../schema/rpc/api.ts'
import type { Operation, ServerAddress } from '../../schema/generated/common.ts'
import type { ChunkLocation, NewChunk } from '../../schema/generated/metadata.ts'
import type { InodeKey } from '../crypto/inode-key.ts'
import type { Lease } from './lease.ts'

export interface MetadataSession {
  /** Another one after the server has ended it. */
  readonly id: number
  readonly userId: number
  /** The device that opened it. */
  readonly device: number
  readonly rootInode: number
  readonly rootKey: InodeKey
  readonly replicas: number
  /** Replicas of a chunk that must be durable before a commit may name it. */
  readonly writeQuorum: number

  /** The lease of the user's tree: whether what was cached may be trusted. */
  readonly lease: Pick<Lease, 'term' | 'fresh' | 'onRecall'>

  /** A method that is harmless to repeat: repeated after a lost connection until its deadline. */
  read<Q, R>(method: Method<Q, R>, request: Q): Promise<R>

  /**
   * A logged method: gets an operation id and is repeated with the same id after a lost connection,
   * so that it takes effect exactly once or fails. `request` is read when it is
   * sent, anew for each attempt.
   */
  mutate<Q extends { operation: Operation }, R>(
    method: Method<Q, R>,
    request: Omit<Q, 'operation'>,
  ): Promise<R>

  /** Counts an inode as held open (the request that held it asked the server already). */
  held(inode: number): void
  /**
   * Counts an inode as held open without asking the server: for an inode that nobody but this session
   * can remove. The server is told later; before that may be over, `tellHolds` must be waited for.
   */
  heldUntold(inode: number): void
  /** Makes the server know that an inode is held, or all that are. Throws why it cannot be told. */
  tellHolds(inode?: number): Promise<void>
  /** Undoes one `held` or `heldUntold` and tells the server, in batches, without waiting. */
  release(inode: number): void

  close(): Promise<void>
}

/** A chunk being written: plaintext in, sealed and sent while more comes. */
export interface ChunkWriter {
  readonly chunk: number
  /** Plaintext bytes appended. */
  readonly length: number
  /**
   * Seals and sends; the bytes may be reused when it returns. A promise when the servers are slower
   * than the writer: wait for it before the next append. At most limits.chunkBytesMax in all.
   */
  append(bytes: Uint8Array): Promise<void> | undefined
  /**
   * Resolves when the chunk is durable on the replicas asked for (at least the write quorum). Failed
   * servers are replaced and the chunk sent again from memory before this gives up.
   */
  finish(): Promise<NewChunk>
  /** Gives the chunk up; the servers forget it. */
  abort(): void
}

export interface BeginOptions {
  /**
   * Called at most once, when the memory for sealed bytes is used up and this chunk is the best one
   * to get some back from: finish it soon and go on in a new one. Without it, an idle half-full chunk
   * keeps its memory while others wait.
   */
  readonly onPressure?: () => void
}

export interface ChunkClient {
  /** Starts a chunk of the file that `key` belongs to. */
  begin(key: InodeKey, options?: BeginOptions): Promise<ChunkWriter>
  /**
   * Plaintext of each of some blocks of a chunk, the last one possibly short. Tries the other replicas when
   * one fails, is late or does not verify (which is reported); throws when none is left:
   * `notAuthentic` when bytes came but did not verify, else the last error.
   */
  readBlocks(
    key: InodeKey,
    location: ChunkLocation,
    servers: readonly ServerAddress[],
    firstBlock: number,
    blockCount: number,
  ): Promise<Uint8Array[]>
  close(): Promise<void>
}
