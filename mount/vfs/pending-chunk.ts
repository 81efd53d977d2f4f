/**
 * A chunk that this mount writes, from its first byte until a commit names it.
 */
import type { NewChunk } from '../../schema/generated/metadata.ts'

export interface PendingChunk {
  readonly id: number
  /** No more bytes will be appended. */
  readonly closed: boolean
  /**
   * Resolves when the chunk is durable, or with why it never will be; it does not reject. Undefined
   * while it is open.
   */
  readonly outcome: Promise<ChunkOutcome> | undefined
  /** Plaintext of a block that is written and not in the block cache, or undefined. */
  openBlock(block: number): Uint8Array | undefined
}

export type ChunkOutcome =
  { readonly stored: NewChunk } | { readonly stored: undefined; readonly error: unknown }
