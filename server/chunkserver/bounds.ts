/**
 * Every bound of the chunkserver, with its unit and its reason.
 *
 * Memory is what requests may hold at once (`writeBudgetBytes` for each length of chain,
 * `readBudgetBytes`, the stages), the index's caches, and a fixed record for each open file; the number of
 * chunks does not enter.
 */
import { invariant } from '../../schema/wire/invariant.ts'
import { limits } from '../../schema/wire/limits.ts'

const KIB = 1_024
const MIB = 1_048_576

export const bounds = {
  /**
   * Sealed bytes up to which a chunk lives in RocksDB, where many share one sync. One block: an index
   * record holds one checksum.
   */
  smallChunkBytesMax: limits.sealedBlockBytes,
  /** Blocks of one write to a chunk file, of one piece forwarded to the next server. */
  writePieceBlocks: 4,
  /** Blocks of one read from a chunk file. */
  readPieceBlocks: 8,
  /** Buffers that a transfer fills in turns: one is on its way while the next is made ready. */
  transferBuffers: 2,
  /**
   * Bytes that writes may hold, separately for each number of servers still behind this one. A write
   * waits only for writes of shorter chains, so two servers never wait for each other.
   */
  writeBudgetBytes: 32 * MIB,
  /** Bytes that writes may hold for their first block; a small chunk needs no more. */
  firstBlockBudgetBytes: 16 * MIB,
  /**
   * Writes of one connection that may wait for their budget: none, they are refused at once. What a
   * waiting write has been sent would stay unread, and QUIC's credit for the whole connection is
   * renewed only when nearly everything was read: those admitted would wait for it for ever.
   */
  waitingWritesMax: 0,
  /** Bytes that reads may hold. */
  readBudgetBytes: 64 * MIB,
  /** Reads of one connection that may wait; more are refused. They hold nothing while they wait. */
  waitingReadsMax: 256,
  /** Requests of all connections that may wait for their share of a budget. */
  waitingRequestsMax: 512,
  /**
   * Bytes that are gathered for one write past the page cache; chunks below it, and what is left at the end,
   * go through it. How many chunks may do so at once; others go through it, too.
   */
  stageBytes: 512 * KIB,
  stagesMax: 64,
  /** Bytes written through the page cache between two syncs: writing back starts while more is on its way. */
  syncEveryBytes: 8 * MIB,
  /** Chunk files kept open for reading, each with its checksums (at most 4.2 KiB). */
  openFilesMax: 512,
  /** Directories remembered to exist durably. */
  knownDirectoriesMax: 4_096,
  /** Changes that one synced batch of the index may hold, and their bytes. */
  batchChangesMax: 4_096,
  batchBytesMax: 8 * MIB,
  /** Milliseconds to reach the next server of a chain before it counts as failed. */
  chainConnectMs: 3_000,
  /** Milliseconds without a sign of the next server after which it is asked whether it is there. */
  chainSilenceMs: 2_500,
  /**
   * Milliseconds that the next server may take no byte, for each server still behind this one: the
   * last link of a chain gives up first.
   */
  chainStallMs: 5_000,
  /** Milliseconds for the chain's answer after its last byte, for each server still behind. */
  chainAnswerMs: 20_000,
  /** Milliseconds that a forwarded chunk may take as a whole; the limits above end it in practice. */
  chainDeadlineMs: 3_600_000,
  /** Chunkservers that chains were sent to, whose connections are kept. */
  serverPeersMax: 512,
  /** Milliseconds that a reader may take no byte before its request is given up. */
  readStallMs: 20_000,
  /** Bytes of text that a failure of the chain carries. */
  failureDetailBytesMax: 256,
  /** Milliseconds that a plan lives at most (the metadata server's write tickets). */
  planLifeMs: 3_600_000,
  /** Milliseconds beyond a plan's life for clocks that differ and commits under way. */
  planMarginMs: 600_000,
  /** Ids of each kind that one heartbeat carries. */
  heartbeatDeletedMax: 10_000,
  heartbeatUnconfirmedMax: 1_000,
  heartbeatDamagedMax: 100,
  /** Milliseconds between two passes over the unconfirmed and over the damaged chunks. */
  reportPauseMs: 30_000,
  /** Milliseconds for a heartbeat's answer. */
  heartbeatDeadlineMs: 5_000,
  /** Orders to delete that are carried out between two heartbeats. */
  deletesPerBatchMax: 1_000,
  /** Milliseconds between heartbeats until the metadata server says otherwise, and its bounds. */
  heartbeatMs: 1_000,
  /**
   * The part of that by which each pause is longer or shorter, by chance: chunkservers that a restart of
   * the metadata server brought into step would else report in the same moment for days.
   */
  heartbeatSpread: 0.1,
  heartbeatMsMin: 50,
  heartbeatMsMax: 60_000,
  /** Milliseconds for which a measurement of free space is good. */
  spaceAgeMs: 250,
  /** Free space that is left alone unless told otherwise: the smaller of the two. */
  reserveBytes: 1_024 * MIB,
  reservePercent: 1,
  /** Least free space that is left alone, whatever was asked for: the index must be able to write. */
  reserveBytesMin: 32 * MIB,
  /** Bytes that one write stores between two looks at the free space. */
  spaceEveryBytes: 8 * MIB,
  /** Bytes a second that scrubbing reads unless told otherwise. */
  scrubBytesPerSecond: 8 * MIB,
  /** Replicas that are made here at once for the metadata server. */
  copiesMax: 4,
  /** Least bytes a second that those replicas may arrive with together. */
  copyBytesPerSecondMin: MIB,
  /** Milliseconds to reach the source of a copy, and that it may send nothing. */
  copyConnectMs: 5_000,
  copyStallMs: 20_000,
  /** Chunks that the metadata server may ask for in one request: in the index, and by reading them. */
  checkedChunksMax: 1_000,
  verifiedChunksMax: 16,
  /** Such requests at once. */
  checksMax: 4,
  /** Milliseconds between two records of where scrubbing is. */
  scrubSaveMs: 30_000,
  /** Milliseconds that a round of scrubbing takes at least, so that few chunks rest too. */
  scrubRoundMsMin: 3_600_000,
  /** Milliseconds between two lines about what was done, in the log. */
  statusLogMs: 60_000,
  /** Milliseconds given to open requests at a stop. */
  drainMs: 5_000,
} as const

invariant(limits.chunkBlocksMax % bounds.writePieceBlocks === 0, 'a chunk is whole pieces')
invariant(
  bounds.syncEveryBytes > bounds.writePieceBlocks * limits.sealedBlockBytes,
  'several pieces between two syncs',
)
