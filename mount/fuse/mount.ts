/**
 * A file system mounted on a directory: mounting, noticing that the mount has ended, unmounting.
 *
 * Unmounting ends in bounded time: first politely, then by taking the mount out of the tree while
 * programs still use it; whatever they ask after that is answered ENOTCONN.
 */
import { readdirSync, readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { invariant } from '../../schema/wire/invariant.ts'
import { DfsError } from '../../schema/wire/status.ts'
import type { Log } from '../../schema/rpc/api.ts'
import type { FileSystem, Owner } from '../vfs/api.ts'
import { Callers } from './callers.ts'
import { addon, nativeForget, nativeMount } from './binding.ts'
import type { NativeMount, Request } from './binding.ts'
import { makeHandlers } from './handlers.ts'
import { HiddenFiles } from './hidden-files.ts'
import { KernelCache } from './kernel-cache.ts'
import { checkMountAllowed, prepareMountPoint } from './mount-point.ts'
import { defaultDeadlines, Requests } from './reply.ts'
import type { Deadlines } from './reply.ts'
import { allowSingleTimes } from './single-times.ts'
import { unmountLazily, unmountOnce } from './unmount-command.ts'

export interface MountOptions {
  readonly directory: string
  readonly log: Log
  /** Lets other users in; without it the kernel lets in only the one who mounts. */
  readonly allowOther?: boolean
  readonly readOnly?: boolean
  readonly deadlines?: Deadlines
  /** How long unmounting waits for programs to let go before it takes the mount away, ms. */
  readonly busyMs?: number
}

export interface Mount {
  /** Absolute path without symbolic links. */
  readonly directory: string
  /** Resolves when the kernel has let go of the mount, whoever unmounted it. */
  readonly ended: Promise<void>
  /**
   * Unmounts: `clean`, or `forced` when programs still used it or requests hung. The file system is
   * not closed by this. Throws DfsError when the system refuses both ways.
   */
  unmount(): Promise<'clean' | 'forced'>
}

/** Bytes the kernel moves in one request at most. */
const transferBytes = 131_072
/** How long the kernel's first request may take after the mount, ms. */
const initMs = 10_000
/** How often to look whether the mount has ended, ms. */
const watchMs = 250
/** Wait for programs to let go, ms. */
const defaultBusyMs = 3_000
const retryMs = 200
/** Wait for libfuse to end after an unmount, ms. */
const endMs = 5_000
const deviceName = '/dev/fuse'
const OWNED = 'what anybody makes belongs to the user who mounted'

/** Mounts `fs`. Resolves when the mount answers. Throws DfsError saying why it cannot. */
export async function mount(fs: FileSystem, options: MountOptions): Promise<Mount> {
  await checkMountAllowed(options.allowOther === true)
  const directory = await prepareMountPoint(options.directory, options.log)
  const live = new LiveMount(fs, directory, options)
  await live.start()
  return live
}

/**
 * libfuse's options. The kernel keeps no attributes and names at first: another machine may change
 * them at any time. `KernelCache` says when it may.
 */
export function libfuseOptions(options: Pick<MountOptions, 'allowOther' | 'readOnly'>): string {
  const all = [
    'fsname=dfs',
    'subtype=dfs',
    'default_permissions',
    'use_ino',
    'atomic_o_trunc',
    'big_writes',
    `max_write=${transferBytes}`,
    `max_read=${transferBytes}`,
    'attr_timeout=0',
    'entry_timeout=0',
    'negative_timeout=0',
  ]
  if (options.allowOther === true) all.push('allow_other')
  if (options.readOnly === true) all.push('ro')
  return all.join(',')
}

class LiveMount implements Mount {
  readonly directory: string
  readonly ended: Promise<void>
  readonly #options: MountOptions
  readonly #requests: Requests
  readonly #hidden: HiddenFiles
  readonly #cache: KernelCache
  readonly #callers = new Callers()
  readonly #fs: FileSystem
  #native: NativeMount | undefined
  /** Our descriptor of the device, which libfuse closes at the end. */
  #device = -1
  #hasEnded = false
  #unmounting: Promise<'clean' | 'forced'> | undefined
  #onEnd: () => void = () => undefined

  constructor(fs: FileSystem, directory: string, options: MountOptions) {
    this.#fs = fs
    this.directory = directory
    this.#options = options
    this.#requests = new Requests(options.log, options.deadlines ?? defaultDeadlines)
    this.#hidden = new HiddenFiles(fs, options.log)
    this.#cache = new KernelCache(fs)
    fs.onYield(() => this.#cache.drain())
    this.ended = new Promise((resolve) => {
      this.#onEnd = resolve
    })
  }

  async start(): Promise<void> {
    const { log } = this.#options
    const context = {
      fs: this.#fs,
      signals: addon(),
      requests: this.#requests,
      hidden: this.#hidden,
      cache: this.#cache,
      ownerOf: this.#owners(log),
      openFlagsOf: (request: Request) => this.#callers.openFlags(request),
    }
    const before = new Set(openDevices())
    let onInit = (): void => undefined
    const up = new Promise<true>((resolve) => {
      onInit = () => resolve(true)
    })
    const handlers = makeHandlers(context, () => onInit())
    try {
      this.#native = nativeMount(this.directory, libfuseOptions(this.#options), handlers)
    } catch (error) {
      this.#requests.stop(-constants.errno.ENOTCONN)
      const detail = `${this.directory}: cannot be mounted; the line above from fusermount says why`
      throw new DfsError('forbidden', detail, { cause: error })
    }
    const native = this.#native
    mend(() => allowSingleTimes(native), 'setting one time without the other has no effect', log)
    mend(() => this.#callers.attach(native), OWNED, log)
    mend(() => this.#cache.attach(native), 'the kernel keeps no names and attributes', log)
    const device = openDevices().find((descriptor) => !before.has(descriptor))
    invariant(device !== undefined, 'a mount has a descriptor of the device')
    this.#device = device
    const inTime = await Promise.race([up, pause(initMs, false, { ref: false })])
    if (!inTime) {
      await this.unmount()
      throw new DfsError(
        'deadlineExceeded',
        `${this.directory}: the kernel did not answer the mount`,
      )
    }
    this.#watch()
  }

  /** Whoever mounted owns what is made by somebody who is not known. */
  #owners(log: Log): (request: Request) => Owner {
    const mounted = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
    let told = false
    return (request) => {
      const owner = this.#callers.of(request)
      if (owner === undefined && !told) log.warn({ without: OWNED }, 'who asks was not found out')
      told ||= owner === undefined
      return owner ?? mounted
    }
  }

  unmount(): Promise<'clean' | 'forced'> {
    this.#unmounting ??= this.#unmount()
    return this.#unmounting
  }

  async #unmount(): Promise<'clean' | 'forced'> {
    const { log, busyMs = defaultBusyMs } = this.#options
    const startedMs = performance.now()
    while (!this.#isOver()) {
      try {
        await unmountOnce(this.directory, this.ended)
        break
      } catch (error) {
        if (performance.now() - startedMs < busyMs) {
          await pause(retryMs)
          continue
        }
        log.warn({ directory: this.directory, err: error }, 'still in use: taking the mount away')
        await this.#takeAway()
        return 'forced'
      }
    }
    const waitMs = this.#requests.pending > 0 ? busyMs : endMs
    if (await this.#endsWithin(waitMs)) return 'clean'
    this.#requests.stop(-constants.errno.ENOTCONN)
    await this.#endsWithin(endMs)
    // Also when libfuse keeps its device: the kernel has let go of us, and the process may end.
    this.#end()
    return 'forced'
  }

  /** The mount leaves the tree first, so that nobody gets in while all is answered ENOTCONN. */
  async #takeAway(): Promise<void> {
    try {
      if (!this.#isOver()) await unmountLazily(this.directory, this.ended)
    } finally {
      this.#requests.stop(-constants.errno.ENOTCONN)
      // Programs that keep files open keep libfuse alive; this process need not wait for them.
      await this.#endsWithin(retryMs)
      this.#end()
    }
  }

  async #endsWithin(limitMs: number): Promise<boolean> {
    for (let waitedMs = 0; !this.#isOver(); waitedMs += 20) {
      if (waitedMs >= limitMs) return false
      await pause(20)
    }
    this.#end()
    return true
  }

  #watch(): void {
    const timer = setInterval(() => {
      if (this.#isOver()) this.#end()
      if (this.#hasEnded) clearInterval(timer)
    }, watchMs)
  }

  /** libfuse closes its device when its loop is done. */
  #isOver(): boolean {
    return this.#hasEnded || !isDevice(this.#device)
  }

  #end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#requests.stop(-constants.errno.ENOTCONN)
    this.#cache.detach()
    this.#callers.detach()
    if (this.#native !== undefined) nativeForget(this.#native)
    void this.#hidden.settledBelow('/').then(() => this.#onEnd())
  }
}

/** Changes libfuse if it is the one we know; the mount works without. */
function mend(change: () => boolean, without: string, log: Log): void {
  try {
    if (!change()) log.warn({ without }, 'an unknown libfuse: it stays as it is')
  } catch (error) {
    log.warn({ without, err: error }, 'no access to own memory: libfuse stays as it is')
  }
}

function openDevices(): number[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((descriptor) => isDevice(descriptor))
}

function isDevice(descriptor: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`) === deviceName
  } catch {
    // The descriptor was closed, which is what was asked.
    return false
  }
}
