/**
 * Loaded into the server before it starts (`node --import`): measures for how long its event loop was
 * blocked, which is what everybody else waits for, and how much of that the main thread was running at
 * all: on a shared machine it often waits for a processor. At SIGUSR2 writes the figures since the
 * last time into the file that DFS_BENCH_LOOP names.
 */
import { openSync, readSync, renameSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'

/** Milliseconds between looks, which the figures contain. */
const RESOLUTION_MS = 1
/** What others may be blocked for, in milliseconds: longer stops are counted. */
const LONG_MS = 20

export interface LoopDelay {
  readonly medianMs: number
  readonly p99Ms: number
  readonly maxMs: number
  /** Stops longer than LONG_MS. */
  readonly long: number
  /** The most CPU that the main thread used in one stop. */
  readonly maxCpuMs: number
}

/** Milliseconds of CPU that this process's main thread has used. */
function mainThreadCpu(): () => number {
  const schedstat = openSync(`/proc/self/task/${process.pid}/schedstat`, 'r')
  const text = Buffer.alloc(64)
  return () =>
    parseInt(text.toString('latin1', 0, readSync(schedstat, text, 0, text.length, 0)), 10) / 1e6
}

const path = process.env['DFS_BENCH_LOOP']
if (path !== undefined) {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  const cpu = mainThreadCpu()
  let long = 0
  let maxCpuMs = 0
  let lastMs = performance.now()
  let lastCpuMs = cpu()
  setInterval(() => {
    const cpuMs = cpu()
    if (performance.now() - lastMs > LONG_MS + RESOLUTION_MS) long++
    maxCpuMs = Math.max(maxCpuMs, cpuMs - lastCpuMs)
    lastMs = performance.now()
    lastCpuMs = cpuMs
  }, RESOLUTION_MS).unref()
  process.on('SIGUSR2', () => {
    const ms = (ns: number): number => Math.max(0, ns / 1e6 - RESOLUTION_MS)
    const figures: LoopDelay = {
      medianMs: ms(delay.percentile(50)),
      p99Ms: ms(delay.percentile(99)),
      maxMs: ms(delay.max),
      long,
      maxCpuMs,
    }
    delay.reset()
    long = 0
    maxCpuMs = 0
    writeFileSync(`${path}.new`, JSON.stringify(figures))
    renameSync(`${path}.new`, path)
  })
}
