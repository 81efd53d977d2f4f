/**
 * Rates, latencies, CPU and memory of a server under a load that this process makes.
 */
import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import type { RunningServer } from './cluster.ts'
import type { LoopDelay } from './loop-delay.ts'

export interface Load {
  readonly server: RunningServer
  readonly what: string
  readonly count: number
  readonly inFlight: number
  readonly call: (i: number) => Promise<unknown>
}

/** Runs `count` calls, `inFlight` at a time, and prints their rate, latencies and cost. */
export async function measure({ server, what, count, inFlight, call }: Load): Promise<void> {
  const latencies = new Float64Array(count)
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) {
      const i = next++
      const startedMs = performance.now()
      await call(i)
      latencies[i] = performance.now() - startedMs
    }
  }
  await server.loopDelay()
  const startedMs = performance.now()
  const startedCpu = cpuSeconds(server.pid)
  await Promise.all(Array.from({ length: inFlight }, worker))
  const seconds = (performance.now() - startedMs) / 1_000
  const cpu = ((cpuSeconds(server.pid) - startedCpu) / count) * 1e6
  latencies.sort()
  const at = (part: number): string => `${(latencies[Math.floor(count * part)] ?? 0).toFixed(1)} ms`
  const delay = await server.loopDelay()
  console.log(
    `${what.padEnd(22)} ${(count / seconds).toFixed(0).padStart(7)}/s  median ${at(0.5)}, p99 ${at(0.99)}` +
      `  server: ${cpu.toFixed(0)} us CPU, ${stops(delay)}, ${memory(server.pid)}`,
  )
}

/** For how long the event loop was blocked, in words. */
export function stops({ p99Ms, maxMs, maxCpuMs, long }: LoopDelay): string {
  const ms = `loop p99 ${p99Ms.toFixed(0)} max ${maxMs.toFixed(0)} ms`
  return `${ms} (running for ${maxCpuMs.toFixed(0)} at most), ${long} over 20 ms`
}

/** CPU seconds of a process, from /proc/PID/stat: ticks of 10 ms, fields 14 and 15. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Resident memory of a process, now and at most so far. */
export function memory(pid: number): string {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const mb = (name: string): string => {
    const kb = new RegExp(`${name}:\\s+(\\d+) kB`, 'u').exec(status)?.[1] ?? '0'
    return (Number(kb) / 1_000).toFixed(0)
  }
  return `RSS ${mb('VmRSS')} MB (peak ${mb('VmHWM')})`
}

/** Numbers from 0 up to `below`, each as likely, always the same sequence for a seed. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 0x1_0000_0000) * below)
  }
}
