/**
 * writeChunk: stores a chunk here and sends it on to the servers behind, at the same time.
 *
 * Answered when the chunk is durable here and the chain behind has answered or failed. A request that
 * is given up before its last byte leaves nothing here and gives the chain up too. A failure of the
 * disk here fails the request; the chain is then given up, since the client sends the chunk elsewhere.
 */
import type { WriteChunkRequest, WriteChunkResponse } from '../../schema/generated/chunk.ts'
import type { Log, ServerCall } from '../../schema/rpc/api.ts'
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { Rights } from '../ticket.ts'
import { Admission } from './admission.ts'
import { bounds } from './bounds.ts'
import { BufferPool } from './buffer-pool.ts'
import { Chain } from './chain.ts'
import type { ChunkStore, ChunkWriter } from './chunk-store.ts'
import type { DiskSpace } from './disk-space.ts'
import { InProgress } from './in-progress.ts'
import type { ServerPeers } from './server-peers.ts'
import type { TicketKeys } from './ticket-keys.ts'

const BLOCK_BYTES = limits.sealedBlockBytes
const PIECE_BYTES = bounds.writePieceBlocks * BLOCK_BYTES
const HELD_BYTES = bounds.transferBuffers * PIECE_BYTES

export interface ChunkWritesOptions {
  /** This server's id. */
  readonly server: number
  readonly store: ChunkStore
  readonly space: DiskSpace
  readonly tickets: TicketKeys
  readonly peers: ServerPeers
  readonly log: Log
}

export class ChunkWrites {
  readonly inProgress = new InProgress()
  readonly #options: ChunkWritesOptions
  readonly #blocks = poolOf(BLOCK_BYTES, bounds.firstBlockBudgetBytes)
  readonly #pieces = poolOf(PIECE_BYTES, bounds.writeBudgetBytes)
  /** By the number of servers still behind. */
  readonly #firstBlocks = admissions(bounds.firstBlockBudgetBytes)
  readonly #rests = admissions(bounds.writeBudgetBytes)

  constructor(options: ChunkWritesOptions) {
    this.#options = options
  }

  async serve(request: WriteChunkRequest, call: ServerCall): Promise<WriteChunkResponse> {
    this.inProgress.enter()
    try {
      return await this.#serve(request, call)
    } finally {
      this.inProgress.leave()
    }
  }

  async #serve(request: WriteChunkRequest, call: ServerCall): Promise<WriteChunkResponse> {
    const { server, space, store, tickets } = this.#options
    tickets.verify(request.ticket, request.chunk, Rights.write)
    refuseMalformed(request, server)
    const budget = budgetOf(this.#firstBlocks, request)
    await budget.acquire(BLOCK_BYTES, call.connection, call.signal)
    try {
      await space.requireRoom()
      const writer = await store.create(request.chunk, request.header)
      try {
        return await this.#receive(request, call, writer)
      } finally {
        await writer.abort()
      }
    } finally {
      budget.release(BLOCK_BYTES, call.connection)
    }
  }

  async #receive(
    request: WriteChunkRequest,
    call: ServerCall,
    writer: ChunkWriter,
  ): Promise<WriteChunkResponse> {
    const { peers, log, server } = this.#options
    const chain = await Chain.open(peers, request, log, call.signal)
    try {
      if (await this.#transferFirstBlock(call, writer, chain)) {
        const budget = budgetOf(this.#rests, request)
        await budget.acquire(HELD_BYTES, call.connection, call.signal)
        try {
          await this.#transferRest(call, writer, chain)
        } finally {
          budget.release(HELD_BYTES, call.connection)
        }
      }
      chain.end()
      const { sealedBytes } = await writer.commit()
      const { servers, failed } = await chain.outcome(sealedBytes)
      return { sealedBytes, servers: [server, ...servers], failed }
    } finally {
      chain.cancel()
    }
  }

  /** Most chunks of small files end here; true when there may be more. */
  async #transferFirstBlock(call: ServerCall, writer: ChunkWriter, chain: Chain): Promise<boolean> {
    const buffer = this.#blocks.take()
    try {
      const bytes = await fill(call, buffer)
      if (bytes > 0) await send(buffer.subarray(0, bytes), writer, chain)
      return bytes === buffer.length
    } finally {
      this.#blocks.give(buffer)
    }
  }

  /** Two buffers in turns: one is filled while the other goes to the disk and down the chain. */
  async #transferRest(call: ServerCall, writer: ChunkWriter, chain: Chain): Promise<void> {
    let filling = this.#pieces.take()
    let leaving: Buffer | undefined
    let left: Promise<void> | undefined
    let unmeasured = 0
    try {
      for (;;) {
        const bytes = await fill(call, filling)
        unmeasured += bytes
        if (unmeasured >= bounds.spaceEveryBytes) {
          await this.#options.space.requireHalfReserve()
          unmeasured = 0
        }
        await left
        if (bytes === 0) return
        const piece = filling.subarray(0, bytes)
        const full = bytes === filling.length
        left = send(piece, writer, chain)
        // Handled where it is awaited; until then a failure must not count as unhandled.
        left.catch(() => undefined)
        const next: Buffer = leaving ?? this.#pieces.take()
        leaving = filling
        filling = next
        if (full) continue
        await left
        return
      }
    } finally {
      await left?.catch(() => undefined)
      this.#pieces.give(filling)
      if (leaving !== undefined) this.#pieces.give(leaving)
    }
  }
}

/** To the disk and down the chain; the buffer is free when it resolves or rejects. */
function send(piece: Buffer, writer: ChunkWriter, chain: Chain): Promise<void> {
  const stored = writer.append(piece)
  const forwarded = chain.write(piece)
  return forwarded === undefined ? stored : bothDone(stored, forwarded)
}

/** Waits for both, also when the first fails: the buffer is in use until then. */
async function bothDone(stored: Promise<void>, forwarded: Promise<void>): Promise<void> {
  try {
    await stored
  } finally {
    await forwarded
  }
}

/** Reads until the buffer is full or the payload ends. */
async function fill(call: ServerCall, into: Buffer): Promise<number> {
  let at = 0
  while (at < into.length) {
    const got = call.read(at === 0 ? into : into.subarray(at))
    const bytes = typeof got === 'number' ? got : await got
    if (bytes === 0) break
    at += bytes
  }
  return at
}

function poolOf(bytes: number, budgetBytes: number): BufferPool {
  return new BufferPool(bytes, Math.floor(budgetBytes / bytes))
}

function admissions(budgetBytes: number): Admission[] {
  return Array.from(
    { length: limits.replicasMax },
    () => new Admission('writes', budgetBytes, bounds.waitingWritesMax),
  )
}

function budgetOf(budgets: readonly Admission[], { chain }: WriteChunkRequest): Admission {
  const budget = budgets[chain.length]
  invariant(budget !== undefined, 'the length of the chain was checked')
  return budget
}

function refuseMalformed({ chunk, header, chain }: WriteChunkRequest, server: number): void {
  const refuse = (why: string): DfsError =>
    new DfsError('invalidArgument', `cannot store chunk ${chunk}: ${why}`)
  if (chunk < 1) throw refuse('ids start at 1')
  if (header.length === 0 || header.length > limits.chunkHeaderBytesMax) {
    throw refuse(
      `its header has ${header.length} bytes, 1 to ${limits.chunkHeaderBytesMax} are allowed`,
    )
  }
  if (chain.length >= limits.replicasMax) throw chainTooLong(chain.length)
  const ids = new Set([server])
  for (const { id, addresses } of chain) {
    if (ids.has(id)) throw refuse(`its chain names chunkserver ${id} twice`)
    ids.add(id)
    const sane = addresses.every((text) => text.length > 0 && text.length <= limits.addressBytesMax)
    if (addresses.length === 0 || addresses.length > limits.replicasMax || !sane) {
      throw refuse(`its chain has no usable address of chunkserver ${id}`)
    }
  }
}

function chainTooLong(length: number): DfsError {
  return new DfsError(
    'invalidArgument',
    `a chain of ${length} servers; at most ${limits.replicasMax - 1} may follow`,
  )
}
