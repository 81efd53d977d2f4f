/**
 * The conversation with the kernel about one mount: takes requests from the device, hands each to its
 * handler, and notices when the kernel has ended it.
 */
import { constants } from 'node:os'
import type { Log } from '../../schema/rpc/api.ts'
import { errno, systemError } from '../../schema/system/native.ts'
import type { FileSystem, Stat } from '../vfs/api.ts'
import type { Device } from './device.ts'
import { writeWide } from './encoding.ts'
import { attributeHandlers } from './handlers/attributes.ts'
import type { Handler, HandlerContext } from './handlers/context.ts'
import { fileHandlers } from './handlers/file.ts'
import { listingHandlers } from './handlers/listing.ts'
import { nameHandlers } from './handlers/names.ts'
import { openHandlers } from './handlers/open.ts'
import { xattrHandlers } from './handlers/xattr.ts'
import type { KernelCache } from './kernel-cache.ts'
import { KernelRequest } from './kernel-request.ts'
import { NodeTable } from './node-table.ts'
import { PathGate } from './path-gate.ts'
import {
  BACKGROUND_MAX,
  INIT,
  INIT_REPLY_BYTES,
  OLD_TRANSFER_BYTES,
  OPCODE,
  OPCODES_MAX,
  PAGE_BYTES,
  TRANSFER_BYTES,
  VERSION,
  type OperationName,
} from './protocol.ts'
import { Replies } from './replies.ts'
import type { Requests } from './reply.ts'
import { TransferBuffers } from './transfer-buffers.ts'

/** Requests taken in a row; then the rest of the process has its turn. */
const BURST_MAX = 16
/** Reads that the file system works on, and writes: more than the kernel has under way by itself. */
const READS_MAX = BACKGROUND_MAX + 16
const WRITES_MAX = BACKGROUND_MAX + 16

const { ENOSYS, ENOTCONN } = constants.errno

export interface SessionOptions {
  readonly fs: FileSystem
  readonly root: Stat
  readonly device: Device
  readonly requests: Requests
  readonly cache: KernelCache
  readonly log: Log
  /** The kernel has begun to ask. */
  readonly onStart: () => void
  /** The kernel has let go of the mount. */
  readonly onEnd: () => void
}

export class Session {
  readonly #options: SessionOptions
  readonly #request = new KernelRequest()
  readonly #handlers: readonly (Handler | undefined)[]
  readonly #operations: readonly (OperationName | undefined)[]
  readonly #replies: Replies
  readonly #incoming: TransferBuffers
  readonly #reads: TransferBuffers
  readonly #nodes: NodeTable
  readonly #agreed = { flags: 0 }
  #ended = false

  constructor(options: SessionOptions) {
    const { fs, device, requests, cache, log, root } = options
    this.#options = options
    this.#replies = new Replies(device, log)
    this.#nodes = new NodeTable(root)
    const resume = (): void => device.listen(true)
    this.#incoming = new TransferBuffers(WRITES_MAX, resume)
    this.#reads = new TransferBuffers(READS_MAX, resume)
    const context: HandlerContext = {
      fs,
      nodes: this.#nodes,
      replies: this.#replies,
      requests,
      cache,
      agreed: this.#agreed,
      gate: new PathGate(),
      reads: this.#reads,
      incoming: this.#incoming,
    }
    const handlers: Record<OperationName, Handler> = {
      ...this.#ownHandlers(),
      ...attributeHandlers(context),
      ...fileHandlers(context),
      ...listingHandlers(context),
      ...nameHandlers(context),
      ...openHandlers(context),
      ...xattrHandlers(context),
    }
    const byOpcode: (Handler | undefined)[] = Array.from({ length: OPCODES_MAX })
    const operations: (OperationName | undefined)[] = Array.from({ length: OPCODES_MAX })
    for (const name of Object.keys(OPCODE) as OperationName[]) {
      byOpcode[OPCODE[name]] = handlers[name]
      operations[OPCODE[name]] = name
    }
    this.#handlers = byOpcode
    this.#operations = operations
  }

  start(): void {
    this.#options.device.watch(() => this.#take())
  }

  /** Ends it from our side; what is open is answered ENOTCONN. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#options.requests.stop(-ENOTCONN)
    this.#replies.close()
    this.#options.device.close()
    this.#options.onEnd()
  }

  /** Takes requests while there are some and memory for what they bring and want. */
  #take(): void {
    for (let count = 0; count < BURST_MAX && !this.#ended; count++) {
      const buffer = this.#incoming.current
      if (buffer === undefined || this.#reads.current === undefined) {
        this.#options.device.listen(false)
        return
      }
      const length = this.#options.device.read(buffer)
      if (length < 0) {
        if (length === -errno.EAGAIN) return
        // A request that was taken back meanwhile, or a signal of ours.
        if (length === -errno.ENOENT || length === -errno.EINTR) continue
        if (length !== -errno.ENODEV) {
          const err = systemError('read', -length)
          this.#options.log.error({ err }, 'the mount ends: no requests can be read from /dev/fuse')
        }
        this.end()
        return
      }
      this.#request.load(buffer, length)
      this.#handle(this.#request)
    }
  }

  #handle(request: KernelRequest): void {
    const { opcode, unique } = request
    const handler = this.#handlers[opcode]
    if (handler === undefined) {
      this.#replies.code(unique, -ENOSYS)
      return
    }
    try {
      handler(request)
    } catch (error) {
      const operation = this.#operations[opcode] ?? 'init'
      const subject = `the kernel's inode ${request.nodeId}`
      this.#replies.code(unique, this.#options.requests.failed(operation, subject, error))
    }
  }

  /** What concerns the conversation itself. */
  #ownHandlers(): Record<'init' | 'destroy' | 'forget' | 'batchForget', Handler> {
    return {
      init: (request) => this.#init(request),
      destroy: ({ unique }) => {
        this.#replies.code(unique, 0)
      },
      // These two have no answer.
      forget: (request) => this.#nodes.forget(request.nodeId, request.u64(0)),
      batchForget: (request) => {
        const count = request.u32(0)
        for (let index = 0; index < count; index++) {
          const at = 8 + index * 16
          this.#nodes.forget(request.u64(at), request.u64(at + 8))
        }
      },
    }
  }

  #init(request: KernelRequest): void {
    const { log } = this.#options
    const major = request.u32(0)
    const readAheadBytes = request.u32(8)
    const offered = request.u32(12)
    const wanted = Object.values(INIT).reduce((all, flag) => all | flag, 0)
    const { room } = this.#replies
    room.fill(0, 0, INIT_REPLY_BYTES)
    room.writeUInt32LE(VERSION.major, 0)
    room.writeUInt32LE(VERSION.minor, 4)
    room.writeUInt32LE(readAheadBytes, 8)
    this.#agreed.flags = (offered & wanted) >>> 0
    room.writeUInt32LE(this.#agreed.flags, 12)
    room.writeUInt16LE(BACKGROUND_MAX, 16)
    room.writeUInt16LE(BACKGROUND_MAX, 18)
    const large = (offered & INIT.maxPages) !== 0
    const transferBytes = large ? TRANSFER_BYTES : OLD_TRANSFER_BYTES
    room.writeUInt32LE(transferBytes, 20)
    // Times are kept to the nanosecond.
    writeWide(room, 24, 1)
    room.writeUInt16LE(transferBytes / PAGE_BYTES, 28)
    log.debug({ major, minor: request.u32(4), offered, transferBytes }, 'the kernel begins')
    this.#replies.built(request.unique, INIT_REPLY_BYTES)
    this.#options.onStart()
  }
}
