/**
 * Generated from schema/fbs/common.fbs by scripts/generate-schema.mjs. Do not edit.
 */
/* eslint-disable */
import { codec, type Encoder, type Reader } from '../wire/flatbuffer.ts'
import type { Codec } from '../wire/codec.ts'

/**
 * The part of an inode that its owner's client writes and seals. The metadata server keeps it as
 * given; it cannot change any of it without the client noticing.
 */
export interface Attributes {
  /** 1 file, 2 directory, 3 symbolic link, 4 fifo, 5 socket, 6 character device, 7 block device. */
  kind: number
  /** Permission bits, 07777. */
  mode: number
  uid: number
  gid: number
  rdev: number
  /** Bytes of content; of a symbolic link, of its target; 0 for a directory. */
  size: number
  /** Nanoseconds. Sealed for everything but directories, whose mtime the server keeps. */
  mtime: bigint
  /** Counts the client's sealed changes of this inode, from 1. */
  version: number
  /** SHA-256 over the list of window digests, or over the sealed inline bytes (schema/wire/content.ts). */
  contentDigest: Uint8Array
  /** HMAC-SHA-256 under the inode's key over all of the above and below. */
  seal: Uint8Array
  /** SHA-256 over the sealed extended attributes; absent when there are none. */
  xattrDigest: Uint8Array
}

export function putAttributes(b: Encoder, v: Attributes): number {
  const contentDigest = b.bytes(v.contentDigest)
  const seal = b.bytes(v.seal)
  const xattrDigest = b.bytes(v.xattrDigest)
  b.startObject(11)
  b.addFieldInt8(0, v.kind, 0)
  b.addFieldInt32(1, v.mode, 0)
  b.addFieldInt32(2, v.uid, 0)
  b.addFieldInt32(3, v.gid, 0)
  b.addFieldInt32(4, v.rdev, 0)
  b.addFieldU64(5, v.size, 0)
  b.addFieldInt64(6, v.mtime, 0n)
  b.addFieldU64(7, v.version, 0)
  b.addFieldOffset(8, contentDigest, 0)
  b.addFieldOffset(9, seal, 0)
  b.addFieldOffset(10, xattrDigest, 0)
  return b.endObject()
}

export function getAttributes(r: Reader, t: number): Attributes {
  return {
    kind: r.u8Field(t, 0),
    mode: r.u32Field(t, 1),
    uid: r.u32Field(t, 2),
    gid: r.u32Field(t, 3),
    rdev: r.u32Field(t, 4),
    size: r.u64Field(t, 5),
    mtime: r.i64Field(t, 6),
    version: r.u64Field(t, 7),
    contentDigest: r.byteVector(r.field(t, 8)),
    seal: r.byteVector(r.field(t, 9)),
    xattrDigest: r.byteVector(r.field(t, 10)),
  }
}

export const Attributes: Codec<Attributes> = codec('Attributes', putAttributes, getAttributes)

/** A run of a window's bytes inside a chunk. Bytes of a window that no extent covers are zeros. */
export interface Extent {
  chunk: number
  /** Byte position in the window. */
  offset: number
  length: number
  /** Byte position of the run's plaintext in the chunk. */
  chunkOffset: number
}

export function putExtent(b: Encoder, v: Extent): void {
  b.prep(8, 24)
  b.pad(4)
  b.writeInt32(v.chunkOffset)
  b.writeInt32(v.length)
  b.writeInt32(v.offset)
  b.writeU64(v.chunk)
}

export function getExtent(r: Reader, at: number): Extent {
  return {
    chunk: r.u64(at + 0),
    offset: r.u32(at + 8),
    length: r.u32(at + 12),
    chunkOffset: r.u32(at + 16),
  }
}

/** An inode as clients get it. */
export interface Inode {
  inode: number
  attributes: Attributes
  /** The rest is the server's word. */
  nlink: number
  ctime: bigint
  atime: bigint
  /** Entries in a directory. */
  entryCount: number
  /** Directories in a directory, for its link count. */
  directoryCount: number
  /** Bytes held by extents, for st_blocks. */
  allocatedBytes: number
  /** Sealed content of a small file, or sealed target of a symbolic link; absent otherwise. */
  inline: Uint8Array
}

export function putInode(b: Encoder, v: Inode): number {
  const attributes = putAttributes(b, v.attributes)
  const inline = b.bytes(v.inline)
  b.startObject(9)
  b.addFieldU64(0, v.inode, 0)
  b.addFieldInt32(2, v.nlink, 0)
  b.addFieldInt64(3, v.ctime, 0n)
  b.addFieldInt64(4, v.atime, 0n)
  b.addFieldU64(5, v.entryCount, 0)
  b.addFieldInt32(6, v.directoryCount, 0)
  b.addFieldU64(7, v.allocatedBytes, 0)
  b.addFieldOffset(1, attributes, 0)
  b.addFieldOffset(8, inline, 0)
  return b.endObject()
}

export function getInode(r: Reader, t: number): Inode {
  return {
    inode: r.u64Field(t, 0),
    attributes: r.required(r.field(t, 1), getAttributes),
    nlink: r.u32Field(t, 2),
    ctime: r.i64Field(t, 3),
    atime: r.i64Field(t, 4),
    entryCount: r.u64Field(t, 5),
    directoryCount: r.u32Field(t, 6),
    allocatedBytes: r.u64Field(t, 7),
    inline: r.byteVector(r.field(t, 8)),
  }
}

export const Inode: Codec<Inode> = codec('Inode', putInode, getInode)

/** What an operation is remembered by, so that repeating it after a lost answer changes nothing. */
export interface Operation {
  /** Counts up in a session; never used twice for different requests. */
  id: number
  /** Every operation of the session below this one has been answered: its record may go. */
  answeredBelow: number
}

export function putOperation(b: Encoder, v: Operation): number {
  b.startObject(2)
  b.addFieldU64(0, v.id, 0)
  b.addFieldU64(1, v.answeredBelow, 0)
  return b.endObject()
}

export function getOperation(r: Reader, t: number): Operation {
  return {
    id: r.u64Field(t, 0),
    answeredBelow: r.u64Field(t, 1),
  }
}

export const Operation: Codec<Operation> = codec('Operation', putOperation, getOperation)

/** Where a chunkserver is. */
export interface ServerAddress {
  id: number
  rack: string
  /** host:port, best first. */
  addresses: string[]
}

export function putServerAddress(b: Encoder, v: ServerAddress): number {
  const rack = b.text(v.rack)
  const addresses = b.texts(v.addresses)
  b.startObject(3)
  b.addFieldInt32(0, v.id, 0)
  b.addFieldOffset(1, rack, 0)
  b.addFieldOffset(2, addresses, 0)
  return b.endObject()
}

export function getServerAddress(r: Reader, t: number): ServerAddress {
  return {
    id: r.u32Field(t, 0),
    rack: r.text(r.field(t, 1)),
    addresses: r.texts(r.field(t, 2)),
  }
}

export const ServerAddress: Codec<ServerAddress> = codec('ServerAddress', putServerAddress, getServerAddress)
