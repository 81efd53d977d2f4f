/**
 * Loaded into the server before it starts (`node --import`): measures for how long its event loop was
 * blocked, which is what everybody else waits for. At SIGUSR2 writes the figures since the last time
 * into the file that DFS_BENCH_LOOP names.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

/** Milliseconds between looks, which the figures contain. */
const RESOLUTION_MS = 1

export interface LoopDelay {
  readonly medianMs: number
  readonly p99Ms: number
  readonly maxMs: number
}

const path = process.env['DFS_BENCH_LOOP']
if (path !== undefined) {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  process.on('SIGUSR2', () => {
    const ms = (ns: number): number => Math.max(0, ns / 1e6 - RESOLUTION_MS)
    const figures: LoopDelay = {
      medianMs: ms(delay.percentile(50)),
      p99Ms: ms(delay.percentile(99)),
      maxMs: ms(delay.max),
    }
    delay.reset()
    writeFileSync(`${path}.new`, JSON.stringify(figures))
    renameSync(`${path}.new`, path)
  })
}
