/**
 * What a user feels with many small files in a mounted folder: copying 1,000 files of 4 KiB in,
 * looking at all of them, reading them, unpacking a source tree, cloning a repository. Run with
 * `npm run bench -- small-files`; to compare two states of the code, run it in both checkouts, in
 * turns.
 *
 * The yardstick stands beside each figure: the same on the local disk in the same run, made durable
 * too (`sync -f`).
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repository, run as command, TestCluster } from '../support/cluster.ts'

const SMALL_FILES = 1_000
const ROUNDS = Number(process.env['DFS_BENCH_ROUNDS'] ?? 3)

type Work = (dir: string) => void

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN

const quiet = (script: string): void => void command('bash', '-euc', script)

/** In the order in which they run in a fresh folder. */
function works(base: string): [string, Work][] {
  const small = join(base, 'small')
  const archive = join(base, 'source.tar')
  mkdirSync(small)
  for (let i = 0; i < SMALL_FILES; i++) writeFileSync(join(small, `f${i}`), randomBytes(4_096))
  const from = process.env['DFS_BENCH_REPOSITORY'] ?? repository
  command('git', '-C', from, 'archive', '--output', archive, 'HEAD')
  return [
    [
      'cp -r of 1,000 files of 4 KiB',
      (dir) => quiet(`cp -r ${small} ${dir}/small; sync -f ${dir}`),
    ],
    ['find -size, 3 times', (dir) => quiet(`for i in 1 2 3; do find ${dir}/small -size +0; done`)],
    ['cat of all of them', (dir) => quiet(`cat ${dir}/small/* | wc -c`)],
    [
      'tar x of the sources',
      (dir) => quiet(`mkdir ${dir}/tar; tar xf ${archive} -C ${dir}/tar; sync -f ${dir}`),
    ],
    ['git clone', (dir) => quiet(`git clone -q --no-local ${from} ${dir}/clone; sync -f ${dir}`)],
    ['git status', (dir) => quiet(`git -C ${dir}/clone status --short`)],
    ['rm -r of all', (dir) => quiet(`rm -r ${dir}/small ${dir}/tar ${dir}/clone`)],
  ]
}

/** Prints a table: medians of the rounds, seconds, and their ratio to the local disk. */
export async function run(): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), 'dfs-bench-'))
  const cluster = new TestCluster(base, [])
  try {
    const steps = works(base)
    cluster.up()
    const seconds = new Map<string, { local: number[]; dfs: number[] }>()
    for (let round = 0; round < ROUNDS; round++) {
      for (const place of ['local', 'dfs'] as const) {
        const dir = join(place === 'local' ? base : cluster.mount, `round-${round}`)
        mkdirSync(dir)
        for (const [name, work] of steps) {
          const startedMs = performance.now()
          work(dir)
          const row = seconds.get(name) ?? { local: [], dfs: [] }
          row[place].push((performance.now() - startedMs) / 1_000)
          seconds.set(name, row)
        }
      }
    }
    for (const [name, { local, dfs }] of seconds) {
      const [disk, mount] = [median(local), median(dfs)]
      const ratio = (mount / disk).toFixed(1)
      console.log(
        `${name.padEnd(32)} dfs ${mount.toFixed(2)} s  disk ${disk.toFixed(2)} s  ${ratio}x`,
      )
    }
  } finally {
    cluster.down()
    rmSync(base, { recursive: true, force: true })
  }
}
