/**
 * A file system mounted on a directory: mounting, noticing that the mount has ended, unmounting.
 *
 * Unmounting ends in bounded time: first politely, then by taking the mount out of the tree while
 * programs still use it; whatever they ask after that is answered ENOTCONN.
 */
import { constants } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { DfsError } from '../../schema/wire/status.ts'
import type { Log } from '../../schema/rpc/api.ts'
import type { FileSystem } from '../vfs/api.ts'
import { Device } from './device.ts'
import { KernelCache } from './kernel-cache.ts'
import { checkMountAllowed, prepareMountPoint } from './mount-point.ts'
import { defaultDeadlines, Requests } from './reply.ts'
import type { Deadlines } from './reply.ts'
import { Session } from './session.ts'
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

/** How long the kernel's first request may take after the mount, ms. */
const initMs = 10_000
/** Wait for programs to let go, ms. */
const defaultBusyMs = 3_000
const retryMs = 200
/** Wait for the kernel to let go after an unmount, ms. */
const endMs = 5_000

/** Mounts `fs`. Resolves when the mount answers. Throws DfsError saying why it cannot. */
export async function mount(fs: FileSystem, options: MountOptions): Promise<Mount> {
  await checkMountAllowed(options.allowOther === true)
  const directory = await prepareMountPoint(options.directory, options.log)
  const live = new LiveMount(fs, directory, options)
  await live.start()
  return live
}

/** Options as libfuse takes them. The kernel checks permissions, by the attributes that we tell it. */
export function libfuseOptions(options: Pick<MountOptions, 'allowOther' | 'readOnly'>): string {
  const all = ['fsname=dfs', 'subtype=dfs', 'default_permissions']
  if (options.allowOther === true) all.push('allow_other')
  if (options.readOnly === true) all.push('ro')
  return all.join(',')
}

class LiveMount implements Mount {
  readonly directory: string
  readonly ended: Promise<void>
  readonly #options: MountOptions
  readonly #requests: Requests
  readonly #fs: FileSystem
  #session: Session | undefined
  #hasEnded = false
  #unmounting: Promise<'clean' | 'forced'> | undefined
  #onEnd: () => void = () => undefined

  constructor(fs: FileSystem, directory: string, options: MountOptions) {
    this.#fs = fs
    this.directory = directory
    this.#options = options
    this.#requests = new Requests(options.log, options.deadlines ?? defaultDeadlines)
    this.ended = new Promise((resolve) => {
      this.#onEnd = () => {
        this.#hasEnded = true
        resolve()
      }
    })
  }

  async start(): Promise<void> {
    const { log } = this.#options
    const cache = new KernelCache(this.#fs)
    this.#fs.onYield(() => cache.drain())
    const root = await this.#fs.stat('/')
    let onStart = (): void => undefined
    const up = new Promise<true>((resolve) => {
      onStart = () => resolve(true)
    })
    this.#session = new Session({
      fs: this.#fs,
      root,
      device: this.#mount(),
      requests: this.#requests,
      cache,
      log,
      onStart: () => onStart(),
      onEnd: () => this.#onEnd(),
    })
    this.#session.start()
    const inTime = await Promise.race([up, pause(initMs, false, { ref: false })])
    if (inTime) return
    await this.unmount()
    const detail = `${this.directory}: the kernel did not answer the mount`
    throw new DfsError('deadlineExceeded', detail)
  }

  #mount(): Device {
    try {
      return new Device(this.directory, libfuseOptions(this.#options))
    } catch (error) {
      this.#requests.stop(-constants.errno.ENOTCONN)
      const detail = `${this.directory}: cannot be mounted; the line above from fusermount says why`
      throw new DfsError('forbidden', detail, { cause: error })
    }
  }

  unmount(): Promise<'clean' | 'forced'> {
    this.#unmounting ??= this.#unmount()
    return this.#unmounting
  }

  async #unmount(): Promise<'clean' | 'forced'> {
    const { log, busyMs = defaultBusyMs } = this.#options
    const startedMs = performance.now()
    while (!this.#hasEnded) {
      try {
        await unmountOnce(this.directory)
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
    const isClean = await this.#endsWithin(waitMs)
    this.#session?.end()
    return isClean ? 'clean' : 'forced'
  }

  /** The mount leaves the tree first, so that nobody gets in while all is answered ENOTCONN. */
  async #takeAway(): Promise<void> {
    try {
      if (!this.#hasEnded) await unmountLazily(this.directory)
    } finally {
      this.#session?.end()
    }
  }

  async #endsWithin(limitMs: number): Promise<boolean> {
    const late = pause(limitMs, false, { ref: false })
    return Promise.race([this.ended.then(() => true), late])
  }
}
