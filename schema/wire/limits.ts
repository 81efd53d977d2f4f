/**
 * Every bound that both ends of the protocol share, with its unit and its reason.
 *
 * A bound that only one module needs stands in that module; what two processes must agree on
 * stands here.
 */
import { invariant } from './invariant.ts'

export const limits = {
  /** Plaintext bytes sealed together: the knee of AES-GCM's cost, and what a small read fetches. */
  blockBytes: 65_536,
  /** Bytes that sealing adds to each block: the AES-GCM tag. */
  tagBytes: 16,
  /** Bytes of a full sealed block; also the unit of a chunkserver's checksums. */
  sealedBlockBytes: 65_552,
  /** Plaintext bytes of one chunk, and of one window of a file. */
  chunkBytesMax: 67_108_864,
  /** Blocks in a full chunk. */
  chunkBlocksMax: 1_024,
  /** Bytes of a chunk's header (format version, cipher, salt), kept beside its blocks. */
  chunkHeaderBytesMax: 64,
  /** Largest file, in bytes: 16 TiB. */
  fileBytesMax: 17_592_186_044_416,
  /** Bytes of a file kept sealed inside its inode record instead of in a chunk. */
  inlineBytesMax: 4_096,
  /** Bytes of a window's patch: small writes that lie sealed over its extents, with their places. */
  patchBytesMax: 16_384,
  /** Bytes of a patch, sealed: room for what sealing adds now and later. */
  sealedPatchBytesMax: 16_448,
  /** Bytes of a directory entry's token: HMAC-SHA-256. */
  tokenBytes: 32,
  /** Bytes of a sealed directory entry: 255 bytes of name, padded, a key, and what sealing adds. */
  sealedEntryBytesMax: 512,
  /** Bytes of a sealed symlink target: 4095 plus what sealing adds. */
  sealedSymlinkBytesMax: 4_200,
  /** Longest name of a directory entry, bytes. */
  nameBytesMax: 255,
  /** Longest symlink target, bytes. */
  symlinkBytesMax: 4_095,
  /** Longest value of an extended attribute, bytes: what the kernel allows. */
  xattrValueBytesMax: 65_536,
  /** All names of an inode's extended attributes with a NUL each: what listxattr(2) can tell. */
  xattrNamesBytesMax: 65_536,
  /** Bytes of all extended attributes of an inode, padded: one of the longest value, or many short. */
  xattrsBytesMax: 66_560,
  /** Bytes of these, sealed: room for what sealing adds now and later. */
  sealedXattrsBytesMax: 66_624,
  /** Hard links to one inode. */
  linksMax: 65_000,
  /** Components that one resolve may walk: PATH_MAX holds 2048 one-letter names. */
  resolveDepthMax: 2_048,
  /** Directory entries in one page of a listing. */
  listEntriesMax: 1_000,
  /**
   * Extents in one window before the client must compact it: one for each page of 4 KiB, so that a
   * database never has to; a window's record stays under 400 KB.
   */
  windowExtentsMax: 16_384,
  /** Changes of names in one request: some milliseconds of the server's time. */
  nameChangesMax: 64,
  /** Windows named by one commit, or returned by one extents request. */
  windowsPerRequestMax: 64,
  /**
   * Windows with content that one commit may cut off whole, 256 GiB of data: one durable batch. More
   * are cut in steps from the end. Cutting to nothing has no limit.
   */
  windowsCutMax: 4_096,
  /** New chunks named by one commit, and chunk plans handed out at once. */
  chunksPerRequestMax: 64,
  /** Replicas of one chunk. */
  replicasMax: 8,
  /**
   * Milliseconds that the holder of a lease has to answer its recall before it loses the lease. Less
   * than the deadline of those who wait for it. A holder that has not heard from the server for half
   * as long trusts nothing it has cached.
   */
  leaseTermMs: 7_000,
  /** Bytes of a tree's state: 1,024 devices' counts of 12 bytes, and what stands around them. */
  treeStateBytesMax: 16_384,
  /** Bytes of a page of a tree's version table: 1,024 digests of 32 bytes, and where they are. */
  treePageBytesMax: 36_864,
  /** Pages of a tree's version table in one request. */
  treePagesPerRequestMax: 256,
  /** Inodes of a tree's version table page, and pages of the level below of one above it. */
  treePageSlots: 1_024,
  /** Levels of a tree's version table: 2^40 inode numbers. */
  treeLevels: 4,
  /** Bytes of a FlatBuffers message, either way, unless the method says less. */
  messageBytesMax: 1_048_576,
  /** Bytes of a host name or address with its port. */
  addressBytesMax: 272,
} as const

invariant(limits.chunkBytesMax === limits.blockBytes * limits.chunkBlocksMax, 'whole blocks')
invariant(limits.treePageSlots ** limits.treeLevels < 2 ** 48, 'a page and its level in one number')
invariant(limits.sealedBlockBytes === limits.blockBytes + limits.tagBytes, 'sealed block')
