/**
 * How far a copy is: a bar on a terminal, a line for each file without one.
 */
import { Presets, SingleBar } from 'cli-progress'
import { formatSize } from './size.ts'

export interface Progress {
  /** A file begins. */
  file(name: string, bytes: number): void
  /** Bytes that went through. */
  advance(bytes: number): void
  /** Everything is done; says how much and how fast. */
  done(): void
  /** Takes the bar away, for an error message. */
  stop(): void
}

/** Progress of `verb` ("put", "get") over all files together; writes on standard error. */
export function createProgress(verb: string, totalBytes: number): Progress {
  const started = process.hrtime.bigint()
  const terminal = process.stderr.isTTY
  let files = 0
  let bytes = 0
  const bar = new SingleBar(
    {
      format: `${verb} {bar} {percentage}% | {now} of {all} | {speed}/s | {name}`,
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: true,
    },
    Presets.shades_classic,
  )
  const seconds = (): number => Number(process.hrtime.bigint() - started) / 1e9
  const speed = (): string => formatSize(bytes / Math.max(seconds(), 0.001))
  const state = (name: string): object => ({
    now: formatSize(bytes),
    all: formatSize(totalBytes),
    speed: speed(),
    name,
  })
  let current = ''
  if (terminal) bar.start(Math.max(totalBytes, 1), 0, state(''))
  return {
    file(name, size) {
      files++
      current = name
      if (!terminal) console.error(`${verb} ${name} (${formatSize(size)})`)
    },
    advance(count) {
      bytes += count
      if (terminal) bar.update(bytes, state(current))
    },
    done() {
      bar.stop()
      const plural = files === 1 ? 'file' : 'files'
      console.error(
        `${verb}: ${files} ${plural}, ${formatSize(bytes)} in ${seconds().toFixed(1)} s, ${speed()}/s`,
      )
    },
    stop() {
      bar.stop()
    },
  }
}
