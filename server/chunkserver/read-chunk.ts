/**
 * readChunk and fetchChunk: send whole sealed blocks of a chunk, each checked before it leaves; the
 * first a range of them to a client, the second all of them to another chunkserver.
 *
 * The first piece is checked before the answer begins, so damage there is a clear `chunkCorrupt`;
 * damage further on breaks the stream off. A reader that takes nothing for `readStallMs` is given up.
 */
import type {
  FetchChunkRequest,
  FetchChunkResponse,
  ReadChunkRequest,
  ReadChunkResponse,
} from '../../schema/generated/chunk.ts'
import type { ServerCall } from '../../schema/rpc/api.ts'
import { limits } from '../../schema/wire/limits.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { Rights } from '../ticket.ts'
import { Admission } from './admission.ts'
import { bounds } from './bounds.ts'
import { BufferPool } from './buffer-pool.ts'
import { blockCount, encodeChecksums } from './chunk-format.ts'
import type { ChunkReader, ChunkStore } from './chunk-store.ts'
import { InProgress } from './in-progress.ts'
import type { TicketKeys } from './ticket-keys.ts'

const PIECE_BYTES = bounds.readPieceBlocks * limits.sealedBlockBytes

type ReadCall = ServerCall & { respond(response: ReadChunkResponse): void }
type FetchCall = ServerCall & { respond(response: FetchChunkResponse): void }

/** Where blocks go: `answer` before the first of them. */
interface Sink extends Pick<ServerCall, 'write' | 'connection' | 'signal'> {
  answer(): void
}

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

  /** For a chunkserver that makes a replica; nobody else gets whole chunks like this. */
  async serveFetch(request: FetchChunkRequest, call: FetchCall): Promise<undefined> {
    if (!CHUNKSERVER_NAME.test(call.connection.peer.name ?? '')) {
      throw new DfsError('forbidden', 'only a chunkserver of this cluster may ask this')
    }
    this.inProgress.enter()
    try {
      this.#tickets.verify(request.ticket, request.chunk, Rights.read)
      await this.#send(request.chunk, wholeChunk, call, ({ header, sealedBytes, crcs }) =>
        call.respond({ header, sealedBytes, checksums: encodeChecksums(crcs) }),
      )
    } finally {
      this.inProgress.leave()
    }
  }

  async #serve(request: ReadChunkRequest, call: ReadCall): Promise<void> {
    this.#tickets.verify(request.ticket, request.chunk, Rights.read)
    const rangeIn = (reader: ChunkReader): BlockRange => rangeOf(request, reader)
    await this.#send(request.chunk, rangeIn, call, ({ header, sealedBytes }) =>
      call.respond({ header, sealedBytes }),
    )
  }

  async #send(
    chunk: number,
    rangeIn: (reader: ChunkReader) => BlockRange,
    call: ServerCall,
    respond: (reader: ChunkReader) => void,
  ): Promise<void> {
    const { connection, signal } = call
    const reader = await this.#store.open(chunk)
    try {
      const range = rangeIn(reader)
      const sink: Sink = {
        connection,
        signal,
        write: (bytes) => call.write(bytes),
        answer: () => respond(reader),
      }
      const pool = range.count === 1 ? this.#blocks : this.#pieces
      const buffers = range.count > bounds.readPieceBlocks ? bounds.transferBuffers : 1
      const held = pool.bytes * buffers
      await this.#budget.acquire(held, connection, signal)
      try {
        if (buffers === 1) await sendOnce(reader, range, sink, pool)
        else await sendPieces(reader, range, sink, pool)
      } finally {
        this.#budget.release(held, connection)
      }
    } finally {
      reader.close()
    }
  }
}

const CHUNKSERVER_NAME = /^chunkserver-\d+\.dfs$/u

const wholeChunk = ({ sealedBytes }: ChunkReader): BlockRange => ({
  first: 0,
  count: blockCount(sealedBytes),
})

async function sendOnce(
  reader: ChunkReader,
  { first, count }: BlockRange,
  sink: Sink,
  pool: BufferPool,
): Promise<void> {
  const buffer = pool.take()
  const bytes = await reader.read(first, count, buffer)
  sink.answer()
  await taken(sink.write(buffer.subarray(0, bytes)), reader.chunk)
  // After a failure the transport may still look at the buffer: it is left to the collector.
  pool.give(buffer)
}

/** Two buffers in turns: the next piece is read while the last one leaves. */
async function sendPieces(
  reader: ChunkReader,
  { first, count }: BlockRange,
  sink: Sink,
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
      if (at === first) sink.answer()
      await sending
      const next = at + bounds.readPieceBlocks
      if (next < end) {
        reading = reader.read(next, Math.min(bounds.readPieceBlocks, end - next), spare)
        // Awaited in the next turn; until then a failure must not count as unhandled.
        reading.catch(() => undefined)
      }
      sending = taken(sink.write(ready.subarray(0, bytes)), reader.chunk)
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
