/**
 * One line a minute about what the chunkserver did, for whoever reads its log; none while nothing
 * happens.
 */
import type { Log } from '../../schema/rpc/api.ts'
import { bounds } from './bounds.ts'

export class StatusLog {
  readonly #log: Log
  readonly #status: () => Readonly<Record<string, number>>
  readonly #timer: NodeJS.Timeout
  #before = ''

  /** `status` gives numbers by name. */
  constructor(log: Log, status: () => Readonly<Record<string, number>>) {
    this.#log = log
    this.#status = status
    this.#timer = setInterval(() => this.#write(), bounds.statusLogMs)
    this.#timer.unref()
  }

  /** Writes a last line. */
  stop(): void {
    clearInterval(this.#timer)
    this.#write()
  }

  #write(): void {
    const status = this.#status()
    const text = JSON.stringify(status)
    if (text === this.#before) return
    this.#before = text
    this.#log.info(status, 'status')
  }
}
