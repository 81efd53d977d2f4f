/**
 * Sends the log to a standby over its connection: batches in order, several under way, so that a
 * commit waits for one round trip and not for those before it. Only what is on our own disk is sent:
 * a standby never has a batch that this server could lose.
 */
import { methods } from '../../../schema/methods.ts'
import type { Connection, Log } from '../../../schema/rpc/api.ts'
import { DfsError } from '../../../schema/wire/status.ts'
import type { CommitLog } from './commit-log.ts'
import { framed } from './log-record.ts'

/** Bytes of records that travel in one request, about. */
const APPEND_BYTES = 1_048_576
/** Requests and bytes under way. */
const REQUESTS_MAX = 64
const BYTES_MAX = 32 * 1_048_576

export class Feed {
  readonly #connection: Connection
  readonly #commitLog: CommitLog
  readonly #log: Log
  #sent: number
  #requests = 0
  #bytes = 0
  #over = false
  #wake: (() => void) | undefined

  /** `number`: the last batch that the standby has. */
  constructor(connection: Connection, commitLog: CommitLog, number: number, log: Log) {
    this.#connection = connection
    this.#commitLog = commitLog
    this.#sent = number
    this.#log = log
    void connection.closed.then(() => this.stop())
  }

  /** There is more to send, or more may be sent. */
  wake(): void {
    this.#wake?.()
    this.#wake = undefined
  }

  stop(): void {
    this.#over = true
    this.wake()
  }

  /** Sends until the connection is over, or the standby lacks what is not kept any more. */
  async run(): Promise<void> {
    while (!this.#over) {
      const full = this.#requests >= REQUESTS_MAX || this.#bytes >= BYTES_MAX
      if (full || this.#sent >= this.#commitLog.written) {
        await new Promise<void>((resolve) => (this.#wake = resolve))
        continue
      }
      const records = await this.#commitLog.recordsAfter(this.#sent, APPEND_BYTES)
      if (records.length === 0) {
        this.#log.warn({ behind: this.#sent }, 'the standby is too far behind; it copies anew')
        return
      }
      await this.#send(records)
    }
  }

  async #send(records: readonly Buffer[]): Promise<void> {
    if (this.#over) return
    const payload = framed(records)
    const call = this.#connection.open(methods.appendLog, {
      epoch: this.#commitLog.history.epoch,
      first: this.#sent + 1,
      count: records.length,
      bytes: payload.length,
      number: this.#commitLog.written,
    })
    this.#sent += records.length
    this.#requests++
    this.#bytes += payload.length
    call.response.then(
      ({ number }) => {
        this.#requests--
        this.#bytes -= payload.length
        if (this.#over) return
        this.#commitLog.ack(number)
        this.wake()
      },
      (error: unknown) => this.#failed(error),
    )
    try {
      const taken = call.write(payload)
      if (taken !== undefined) await taken
      call.end()
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(error: unknown): void {
    if (this.#over) return
    if (!(error instanceof DfsError)) throw error
    this.#log.warn({ code: error.code, detail: error.message }, 'the standby does not take batches')
    this.stop()
  }
}
