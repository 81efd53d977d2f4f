/**
 * What a user feels on a local cluster: `cp` of one 512 MB file in and out, and of 1,000 files of
 * 4 KiB, with 1 and with 2 replicas. Run with `npm run bench -- cluster`.
 *
 * The yardstick stands beside each figure: the same on the local disk, made durable too (`sync -f`),
 * in the same run, in turns. Reads are cold: the mount is a new one, the kernel's caches dropped
 * (needs root, else the line says warm).
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TestCluster, run as command } from '../support/cluster.ts'

const MB = 1_048_576
const BIG_MB = Number(process.env['DFS_BENCH_MB'] ?? 512)
const SMALL_FILES = 1_000
const ROUNDS = 3

interface Place {
  readonly name: string
  readonly dir: string
  /** Makes the next read a cold one. */
  cool(): void
}

/** Prints a table: medians of the rounds, and their ratio to the local disk. */
export async function run(): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), 'dfs-bench-'))
  const clusters: TestCluster[] = []
  try {
    const big = join(base, 'big')
    for (let i = 0; i < BIG_MB; i++) writeFileSync(big, randomBytes(MB), { flag: 'a' })
    const small = join(base, 'small')
    mkdirSync(small)
    for (let i = 0; i < SMALL_FILES; i++) writeFileSync(join(small, `f${i}`), randomBytes(4_096))
    const places: Place[] = [{ name: 'local disk', dir: join(base, 'local'), cool: dropCaches }]
    for (const replicas of [1, 2]) {
      const cluster = new TestCluster(join(base, `replicas-${replicas}`), [
        '--replicas',
        String(replicas),
      ])
      clusters.push(cluster)
      cluster.up()
      places.push({
        name: `dfs, ${replicas} replica${replicas > 1 ? 's' : ''}`,
        dir: cluster.mount,
        cool: () => {
          cluster.down()
          cluster.up()
          dropCaches()
        },
      })
    }
    report(places, rounds(places, big, small, base))
  } finally {
    for (const cluster of clusters) cluster.down()
    rmSync(base, { recursive: true, force: true })
  }
}

type Figures = Map<string, number[]>

function rounds(places: readonly Place[], big: string, small: string, base: string): Figures {
  const figures: Figures = new Map()
  const note = (place: Place, what: string, value: number): void => {
    const key = `${what}|${place.name}`
    figures.set(key, [...(figures.get(key) ?? []), value])
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const place of places) {
      const dir = join(place.dir, `round-${round}`)
      mkdirSync(dir, { recursive: true })
      const out = join(base, 'out')
      rmSync(out, { recursive: true, force: true })
      const into = seconds(() => {
        command('cp', big, join(dir, 'big'))
        command('sync', '-f', join(dir, 'big'))
      })
      note(place, 'cp in, MB/s', BIG_MB / into)
      place.cool()
      note(place, 'cp out, MB/s', BIG_MB / seconds(() => command('cp', join(dir, 'big'), out)))
      command('cmp', big, out)
      const many = seconds(() => {
        command('cp', '-r', small, join(dir, 'small'))
        command('sync', '-f', dir)
      })
      note(place, 'cp of small files in, files/s', SMALL_FILES / many)
      place.cool()
      rmSync(out)
      const back = seconds(() => command('cp', '-r', join(dir, 'small'), out))
      note(place, 'cp of small files out, files/s', SMALL_FILES / back)
      command('diff', '-r', small, out)
      rmSync(dir, { recursive: true })
    }
  }
  return figures
}

function report(places: readonly Place[], figures: Figures): void {
  const whats = [...new Set([...figures.keys()].map((key) => key.split('|')[0] ?? ''))]
  const local = places[0]?.name ?? ''
  for (const what of whats) {
    const yardstick = median(figures.get(`${what}|${local}`) ?? [])
    for (const { name } of places) {
      const value = median(figures.get(`${what}|${name}`) ?? [])
      const ratio = (value / yardstick).toFixed(2)
      console.log(
        `${what.padEnd(34)} ${name.padEnd(16)} ${value.toFixed(0).padStart(7)}  x${ratio}`,
      )
    }
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

function seconds(work: () => void): number {
  const start = process.hrtime.bigint()
  work()
  return Number(process.hrtime.bigint() - start) / 1e9
}

function dropCaches(): void {
  spawnSync('sync')
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3\n')
  } catch {
    console.log('(not root: the next read is warm)')
  }
}
