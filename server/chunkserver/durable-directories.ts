/**
 * Makes directory entries durable: of new directories, and of files renamed into them.
 *
 * Callers that come while a sync of the same directory runs share the next one, since the running
 * one may have started before their rename.
 */
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { LRUCache } from 'lru-cache'
import { bounds } from './bounds.ts'
import { syncDirectory } from './disk.ts'

interface Turn {
  readonly running: Promise<void>
  next: Promise<void> | undefined
}

export class DurableDirectories {
  readonly #root: string
  readonly #known = new LRUCache<string, true>({ max: bounds.knownDirectoriesMax })
  readonly #making = new Map<string, Promise<void>>()
  readonly #turns = new Map<string, Turn>()

  /** `root` must exist durably; directories below it are made on demand. */
  constructor(root: string) {
    this.#root = root
  }

  /** Resolves when the directory exists and its entry survives a power cut. */
  ensure(directory: string): Promise<void> {
    if (directory === this.#root || this.#known.has(directory)) return Promise.resolve()
    let making = this.#making.get(directory)
    if (making === undefined) {
      making = this.#make(directory).finally(() => this.#making.delete(directory))
      this.#making.set(directory, making)
    }
    return making
  }

  /** Resolves when every change of the directory made before the call survives a power cut. */
  sync(directory: string): Promise<void> {
    const turn = this.#turns.get(directory)
    if (turn === undefined) return this.#start(directory)
    turn.next ??= turn.running.then(
      () => this.#start(directory),
      () => this.#start(directory),
    )
    return turn.next
  }

  async #make(directory: string): Promise<void> {
    const parent = dirname(directory)
    await this.ensure(parent)
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await this.sync(parent)
    this.#known.set(directory, true)
  }

  #start(directory: string): Promise<void> {
    const running = syncDirectory(directory)
    const turn: Turn = { running, next: undefined }
    this.#turns.set(directory, turn)
    const finish = (): void => {
      if (this.#turns.get(directory) === turn && turn.next === undefined) {
        this.#turns.delete(directory)
      }
    }
    running.then(finish, finish)
    return running
  }
}
