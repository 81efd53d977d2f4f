/**
 * The native side of fuse-native: which functions it exports, with types, and the table of handlers
 * it calls. The only file that loads the package.
 *
 * Its compiled addon is used directly instead of through its JavaScript class, because that class
 * loses what the addon knows: fstat of an open file goes to the path, utimens gets the access time
 * twice (see {@link modificationTime}), a reply costs two closures and a tick, and libfuse's options
 * cannot be given. Must be loaded on the main thread.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { invariant } from '../../schema/wire/invariant.ts'

/** The memory of the libfuse thread whose request this is; handed back with the answer. */
export type Request = Buffer

/** How an operation without a result is answered: 0 or a negative errno. */
export type Signal = (request: Request, code: number) => void

/** The functions of the addon that answer requests. Each must be called exactly once a request. */
export interface Signals {
  fuse_native_signal_init: Signal
  fuse_native_signal_statfs(request: Request, code: number, figures: Uint32Array): void
  fuse_native_signal_getattr(request: Request, code: number, stat: Uint32Array): void
  fuse_native_signal_fgetattr(request: Request, code: number, stat: Uint32Array): void
  fuse_native_signal_readdir(
    request: Request,
    code: number,
    names: string[],
    stats: Uint8Array[],
  ): void
  fuse_native_signal_readlink(request: Request, code: number, target: string): void
  fuse_native_signal_open(request: Request, code: number, handle: number): void
  fuse_native_signal_create(request: Request, code: number, handle: number): void
  /** `code` is the number of bytes; `memory` is detached, so that nobody writes there later. */
  fuse_native_signal_read(request: Request, code: number, n: number, memory: ArrayBuffer): void
  fuse_native_signal_write(request: Request, code: number, n: number, memory: ArrayBuffer): void
  fuse_native_signal_flush: Signal
  fuse_native_signal_fsync: Signal
  fuse_native_signal_fsyncdir: Signal
  fuse_native_signal_release: Signal
  fuse_native_signal_truncate: Signal
  fuse_native_signal_ftruncate: Signal
  fuse_native_signal_utimens: Signal
  fuse_native_signal_chown: Signal
  fuse_native_signal_chmod: Signal
  /** `memory` is detached. */
  fuse_native_signal_setxattr(request: Request, code: number, memory: ArrayBuffer): void
  /** `code` is the number of bytes; `memory` is detached. */
  fuse_native_signal_getxattr(request: Request, code: number, memory: ArrayBuffer): void
  fuse_native_signal_listxattr(request: Request, code: number, memory: ArrayBuffer): void
  fuse_native_signal_removexattr: Signal
  fuse_native_signal_mknod: Signal
  fuse_native_signal_unlink: Signal
  fuse_native_signal_rename: Signal
  fuse_native_signal_link: Signal
  fuse_native_signal_symlink: Signal
  fuse_native_signal_mkdir: Signal
  fuse_native_signal_rmdir: Signal
}

/** Buffers of the kernel's request, over memory of libfuse: valid until the answer. */
export type KernelBuffer = Uint8Array<ArrayBuffer>

type Low = number
type High = number
type PathHandler = (request: Request, opcode: number, path: string) => void
type HandleHandler = (request: Request, opcode: number, path: string, handle: number) => void
type TwoPathHandler = (request: Request, opcode: number, from: string, to: string) => void
type ModeHandler = (request: Request, opcode: number, path: string, mode: number) => void
type TransferHandler = (
  request: Request,
  opcode: number,
  path: string,
  handle: number,
  buffer: KernelBuffer,
  length: number,
  low: Low,
  high: High,
) => void

/** The handlers the addon can call, with the arguments it passes; 64-bit numbers come in halves. */
export interface Handlers {
  init(request: Request, opcode: number): void
  statfs: PathHandler
  getattr: PathHandler
  fgetattr: HandleHandler
  readdir: PathHandler
  readlink: PathHandler
  open(request: Request, opcode: number, path: string, flags: number): void
  create: ModeHandler
  read: TransferHandler
  write: TransferHandler
  flush: HandleHandler
  fsync(request: Request, opcode: number, path: string, datasync: number, handle: number): void
  fsyncdir(request: Request, opcode: number, path: string, datasync: number, handle: number): void
  release: HandleHandler
  truncate(request: Request, opcode: number, path: string, low: Low, high: High): void
  ftruncate(
    request: Request,
    opcode: number,
    path: string,
    handle: number,
    low: Low,
    high: High,
  ): void
  utimens(request: Request, opcode: number, path: string, low: Low, high: High): void
  chown(request: Request, opcode: number, path: string, uid: number, gid: number): void
  chmod: ModeHandler
  /** `position` is always 0 here. */
  setxattr(
    request: Request,
    opcode: number,
    path: string,
    name: string,
    value: KernelBuffer,
    position: number,
    flags: number,
  ): void
  /** An empty buffer asks how many bytes there are. */
  getxattr(request: Request, opcode: number, path: string, name: string, into: KernelBuffer): void
  listxattr(request: Request, opcode: number, path: string, into: KernelBuffer): void
  removexattr: TwoPathHandler
  mknod(request: Request, opcode: number, path: string, mode: number, device: number): void
  unlink: PathHandler
  rename: TwoPathHandler
  link: TwoPathHandler
  /** `from` is the target text. */
  symlink: TwoPathHandler
  mkdir: ModeHandler
  rmdir: PathHandler
}

export type OperationName = keyof Handlers

interface Addon extends Signals {
  readonly sizeof_fuse_thread_t: number
  fuse_native_mount(
    directory: string,
    options: string,
    thread: Buffer,
    receiver: object,
    allocate: (bytes: number) => Buffer,
    handlers: unknown[],
    implemented: Uint32Array,
  ): void
  fuse_native_unmount(directory: string, thread: Buffer): void
}

/** Slots of the addon's handler table. */
const operationsMax = 35

/**
 * Where things stand in the addon's `fuse_thread_locals_t`, the memory of a {@link Request} (fuse-native.c
 * 2.2.6, 64-bit machines), bytes. Whoever reads there checks what is found against what is known
 * otherwise: `fileInfo` points to libfuse's `struct fuse_file_info`, `mount` to the memory of the mount,
 * `own` to this memory itself.
 */
export const layout = {
  opcode: 8,
  fileInfo: 48,
  accessTime: 104,
  modificationTime: 112,
  mount: 192,
  own: 232,
} as const

let loaded: Addon | undefined

/** dlopen(3): the library stays loaded when its handle is closed. */
const RTLD_NODELETE = 0x1000

const require = createRequire(import.meta.url)
const shipped = `prebuilds/${process.platform}-${process.arch}/libfuse.so`

/** The addon; throws when it is not installed or does not fit this machine. */
export function addon(): Addon {
  if (loaded === undefined) {
    const directory = dirname(require.resolve('fuse-native/package.json'))
    loadLibfuse(libfuseFile())
    const load = createRequire(`${directory}/`)('node-gyp-build') as (directory: string) => Addon
    loaded = load(directory)
  }
  return loaded
}

/** The libfuse that the package ships for this machine. */
function libfuseFile(): string {
  return join(dirname(require.resolve('fuse-native/package.json')), shipped)
}

/**
 * Loads the libfuse that the package ships, before the addon asks the system for it by name: the
 * addon does not say where it lies, and Debian has libfuse 2 only on request. A loaded library
 * answers to its name.
 */
function loadLibfuse(file: string): void {
  if (!existsSync(file)) return
  const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen
  try {
    process.dlopen({ exports: {} }, file, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE)
  } catch (error) {
    // Node wants an addon and finds none in it, yet the library stays, as the flag says.
    if (!(error instanceof Error) || !error.message.includes('self-register')) throw error
  }
}

/** A mount as the addon keeps it: memory that must stay alive as long as its threads. */
export interface NativeMount {
  readonly directory: string
  readonly thread: Buffer
  /** One piece of memory for each thread that libfuse ever started. */
  readonly threads: Set<Buffer>
}

/**
 * Mounts with libfuse's options (comma-separated). Returns when the kernel has the mount; requests
 * start coming with the next turns of the event loop. Throws a plain Error without a reason: libfuse
 * prints it to standard error.
 */
export function nativeMount(directory: string, options: string, handlers: Handlers): NativeMount {
  const native = addon()
  const threads = new Set<Buffer>()
  const table: unknown[] = Array.from({ length: operationsMax - 1 })
  const implemented = new Uint32Array(operationsMax)
  for (const [name, handler] of Object.entries(handlers)) {
    const opcode = (native as unknown as Record<string, unknown>)[`op_${name}`]
    invariant(typeof opcode === 'number', `fuse-native knows the operation ${name}`)
    table[opcode] = handler
    implemented[opcode] = 1
  }
  const mount = { directory, thread: Buffer.alloc(native.sizeof_fuse_thread_t), threads }
  const allocate = (bytes: number): Buffer => {
    const memory = Buffer.alloc(bytes)
    threads.add(memory)
    return memory
  }
  native.fuse_native_mount(
    directory,
    `-o${options}`,
    mount.thread,
    mount,
    allocate,
    table,
    implemented,
  )
  return mount
}

/** Lets the process end although the addon still has its handle; after the mount has ended. */
export function nativeForget(mount: NativeMount): void {
  addon().fuse_native_unmount(mount.directory, mount.thread)
}

/**
 * The modification time that a utimens request carries, in ms since 1970. The addon passes the access
 * time in both places of its arguments, yet keeps both in the thread's memory.
 */
export function modificationTime(request: Request, opcode: number, accessTime: bigint): bigint {
  invariant(
    request.readUInt32LE(layout.opcode) === opcode &&
      request.readBigInt64LE(layout.accessTime) === accessTime,
    'the thread memory of fuse-native is laid out as in version 2.2.6',
  )
  return request.readBigInt64LE(layout.modificationTime)
}
