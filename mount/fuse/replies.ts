/**
 * Answers to the kernel, each in one write to the device. They are built in one piece of memory that is
 * used again; data that was read stands behind room for its header already.
 */
import type { Log } from '../../schema/rpc/api.ts'
import { errno } from '../../schema/system/native.ts'
import type { Stat, StoreSize } from '../vfs/api.ts'
import type { Device } from './device.ts'
import { writeAttr, writeEntry, writePeriod, writeStatfs, writeWide } from './encoding.ts'
import { ATTR_BYTES, ENTRY_BYTES, REPLY_HEADER_BYTES, STATFS_BYTES } from './protocol.ts'

/** Longest answer that is built here: a page of a listing, bytes. */
const SCRATCH_BYTES = 131_072
const ATTR_REPLY_BYTES = REPLY_HEADER_BYTES + 16 + ATTR_BYTES
const ENTRY_REPLY_BYTES = REPLY_HEADER_BYTES + ENTRY_BYTES
const OPEN_BYTES = 16

/** A name's inode as the kernel knows it; times in ms. */
export interface Entry {
  readonly nodeId: number
  readonly keptMs: number
  readonly attributesMs: number
}

/** An open file: its handle, and flags of `OPENED`. */
export interface Opened {
  readonly handle: number
  readonly flags: number
}

export class Replies {
  readonly #device: Pick<Device, 'write'>
  readonly #log: Log
  readonly #scratch = Buffer.alloc(SCRATCH_BYTES)
  #closed = false

  constructor(device: Pick<Device, 'write'>, log: Log) {
    this.#device = device
    this.#log = log
  }

  /** Nothing is sent any more. */
  close(): void {
    this.#closed = true
  }

  /** Where an answer's own part is built, for {@link built}. */
  get room(): Buffer {
    return this.#scratch.subarray(REPLY_HEADER_BYTES)
  }

  /** 0, or a negative errno. */
  code(unique: number, code: number): boolean {
    return this.#send(this.#scratch, unique, code, REPLY_HEADER_BYTES)
  }

  /** What was written into {@link room}. */
  built(unique: number, bytes: number): boolean {
    return this.#send(this.#scratch, unique, 0, REPLY_HEADER_BYTES + bytes)
  }

  /** `bytes` of data that stand in `memory` behind room for the header. */
  data(unique: number, memory: Buffer, bytes: number): boolean {
    return this.#send(memory, unique, 0, REPLY_HEADER_BYTES + bytes)
  }

  bytes(unique: number, bytes: Uint8Array): boolean {
    this.#scratch.set(bytes, REPLY_HEADER_BYTES)
    return this.built(unique, bytes.length)
  }

  /** One number: bytes written, or of an attribute's value. */
  count(unique: number, count: number): boolean {
    writeWide(this.#scratch, REPLY_HEADER_BYTES, count)
    return this.built(unique, 8)
  }

  attributes(unique: number, stat: Stat, keptMs: number): boolean {
    const at = REPLY_HEADER_BYTES
    writePeriod(this.#scratch, at, at + 8, keptMs)
    this.#scratch.writeUInt32LE(0, at + 12)
    writeAttr(this.#scratch, at + 16, stat)
    return this.#send(this.#scratch, unique, 0, ATTR_REPLY_BYTES)
  }

  /** Without a stat: there is nothing of that name, and the kernel may remember so. */
  entry(unique: number, entry: Entry, stat: Stat | undefined): boolean {
    writeEntry(this.#scratch, REPLY_HEADER_BYTES, entry, stat)
    return this.#send(this.#scratch, unique, 0, ENTRY_REPLY_BYTES)
  }

  opened(unique: number, opened: Opened): boolean {
    this.#writeOpened(REPLY_HEADER_BYTES, opened)
    return this.built(unique, OPEN_BYTES)
  }

  created(unique: number, entry: Entry, stat: Stat, opened: Opened): boolean {
    writeEntry(this.#scratch, REPLY_HEADER_BYTES, entry, stat)
    this.#writeOpened(ENTRY_REPLY_BYTES, opened)
    return this.built(unique, ENTRY_BYTES + OPEN_BYTES)
  }

  statfs(unique: number, size: StoreSize): boolean {
    this.#scratch.fill(0, REPLY_HEADER_BYTES, REPLY_HEADER_BYTES + STATFS_BYTES)
    writeStatfs(this.#scratch, REPLY_HEADER_BYTES, size)
    return this.built(unique, STATFS_BYTES)
  }

  #writeOpened(at: number, { handle, flags }: Opened): void {
    writeWide(this.#scratch, at, handle)
    this.#scratch.writeUInt32LE(flags, at + 8)
    this.#scratch.writeUInt32LE(0, at + 12)
  }

  /** False when nobody waits for it any more: what it hands over is ours still. */
  #send(memory: Buffer, unique: number, code: number, bytes: number): boolean {
    if (this.#closed) return false
    memory.writeUInt32LE(bytes, 0)
    memory.writeInt32LE(code, 4)
    writeWide(memory, 8, unique)
    const failed = -this.#device.write(memory, bytes)
    if (failed === 0) return true
    // The program was killed meanwhile, or the mount is gone.
    if (failed !== errno.ENOENT && failed !== errno.ENODEV) {
      this.#log.error({ unique, code, bytes, errno: failed }, 'the kernel refused an answer')
    }
    return false
  }
}
