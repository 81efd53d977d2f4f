/**
 * readChunk: sends whole sealed blocks of a chunk, each checked before it leaves.
 *
 * The first piece is checked before the answer begins, so damage there is a clear `chunkCorrupt`;
 * damage further on breaks the stream off. A reader that takes nothing for `readStallMs` is given up.
 */
import type { ReadChunkRequest, ReadChunkResponse } from '../../schema/generated/chunk.ts'
import type { ServerCall } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { Rights } from '../ticket.ts'
import { Admission } from './admission.ts'
import { bounds } from './bounds.ts'
import { BufferPool } from './buffer-pool.ts'
import { blockCount } from './chunk-format.ts'
import type { ChunkReader, ChunkStore } from './chunk-store.ts'
import { InProgress } from './in-progress.ts'
import type { TicketKeys } from './ticket-keys.ts'

const PIECE_BYTES = bounds.readPieceBlocks * limits.sealedBlockBytes

type ReadCall = ServerCall & { respond(response: ReadChunkResponse): void }

interface BlockRange {
  readonly first: number
  readonly count: number
}

export class ChunkReads {
  readonly inProgress = new InProgress()
  readonly #store: ChunkStore
  readonly #tickets: TicketKeys
  readonly #budget = new Admission('reads', bounds.readBudgetBytes, bounds.waitingReadsMax)
  readonly #pieces = new BufferPool(
    PIECE_BYTES,
    Math.floor(bounds.readBudgetBytes / (2 * PIECE_BYTES)),
  )
  readonly #blocks = new BufferPool(
    limits.sealedBlockBytes,
    Math.floor(bounds.readBudgetBytes / (4 * limits.sealedBlockBytes)),
  )

  constructor(store: ChunkStore, tickets: TicketKeys) {
    this.#store = store
    this.#tickets = tickets
  }

  async serve(request: ReadChunkRequest, call: ReadCall): Promise<undefined> {
    this.inProgress.enter()
    try {
      await this.#serve(request, call)
    } finally {
      this.inProgress.leave()
    }
  }

  async #serve(request: ReadChunkRequest, call: ReadCall): Promise<void> {
    this.#tickets.verify(request.ticket, request.chunk, Rights.read)
    const reader = await this.#store.open(request.chunk)
    try {
      const range = rangeOf(request, reader)
      const pool = range.count === 1 ? this.#blocks : this.#pieces
      const buffers = range.count > bounds.readPieceBlocks ? bounds.transferBuffers : 1
      const held = pool.bytes * buffers
      await this.#budget.acquire(held, call.connection, call.signal)
      try {
        if (buffers === 1) await sendOnce(reader, range, call, pool)
        else await sendPieces(reader, range, call, pool)
      } finally {
        this.#budget.release(held, call.connection)
      }
    } finally {
      reader.close()
    }
  }
}

async function sendOnce(
  reader: ChunkReader,
  { first, count }: BlockRange,
  call: ReadCall,
  pool: BufferPool,
): Promise<void> {
  const buffer = pool.take()
  const bytes = await reader.read(first, count, buffer)
  call.respond({ header: reader.header, sealedBytes: reader.sealedBytes })
  await taken(call.write(buffer.subarray(0, bytes)), reader.chunk)
  // After a failure the transport may still look at the buffer: it is left to the collector.
  pool.give(buffer)
}

/** Two buffers in turns: the next piece is read while the last one leaves. */
async function sendPieces(
  reader: ChunkReader,
  { first, count }: BlockRange,
  call: ReadCall,
  pool: BufferPool,
): Promise<void> {
  let ready = pool.take()
  let spare = pool.take()
  const end = first + count
  let reading = reader.read(first, bounds.readPieceBlocks, ready)
  let sending: Promise<void> | undefined
  try {
    for (let at = first; at < end; at += bounds.readPieceBlocks) {
      const bytes = await reading
      if (at === first) {
        call.respond({ header: reader.header, sealedBytes: reader.sealedBytes })
      }
      await sending
      const next = at + bounds.readPieceBlocks
      if (next < end) {
        reading = reader.read(next, Math.min(bounds.readPieceBlocks, end - next), spare)
        // Awaited in the next turn; until then a failure must not count as unhandled.
        reading.catch(() => undefined)
      }
      sending = taken(call.write(ready.subarray(0, bytes)), reader.chunk)
      sending?.catch(() => undefined)
      const sent = ready
      ready = spare
      spare = sent
    }
    await sending
    pool.give(ready)
    pool.give(spare)
  } finally {
    // The file must not be closed under a read.
    await reading.catch(() => undefined)
  }
}

/** Waits for the transport to take what was written, at most `readStallMs`. */
function taken(written: Promise<void> | undefined, chunk: number): Promise<void> | undefined {
  if (written === undefined) return undefined
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(
        new DfsError(
          'deadlineExceeded',
          `the reader of chunk ${chunk} took no byte for ${bounds.readStallMs} ms`,
        ),
      )
    }, bounds.readStallMs)
    written.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

function rangeOf(request: ReadChunkRequest, reader: ChunkReader): BlockRange {
  const blocks = blockCount(reader.sealedBytes)
  const first = request.firstBlock
  if (first >= blocks) {
    throw new DfsError(
      'invalidArgument',
      `chunk ${request.chunk} has ${blocks} blocks; ${first} was asked for`,
    )
  }
  const wanted = request.blockCount === 0 ? blocks : request.blockCount
  return { first, count: Math.min(wanted, blocks - first) }
}
