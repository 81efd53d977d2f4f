/**
 * Resident memory of `dfs-mount` while much more than its budgets goes through it: its peak, as the
 * kernel keeps it, stays under the budgets and 250 MB.
 *
 * DFS_TEST_COPY=10G copies as much as it says in place of 384M, and measures many files and random
 * places as well.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { formatSize, parseSize } from '../../bin/runtime/size.ts'
import { noMounts, repository, startCluster, type TestCluster } from '../support/cluster.ts'
import { run } from '../support/fuse-mount.ts'
import { noPython } from '../support/lockstep.ts'

const MIB = 1_048_576
const OVERHEAD_BYTES = 250_000_000
const PIECE_BYTES = 64 * MIB
const leftOut = process.env['DFS_TEST_COPY'] === undefined
const copyBytes = parseSize(process.env['DFS_TEST_COPY'] ?? '384M')
const timeoutMs = 120_000 + Math.ceil(copyBytes / 10_000)
const skip = noMounts() ?? noPython() ?? false

t.setTimeout(timeoutMs * 2)

interface Small {
  readonly directory: string
  /** Peak of resident memory so far, bytes. */
  peakBytes(): number
}

/** A mount with budgets of its own, in a process of its own. */
async function mountWith(t: Test, cluster: TestCluster, ...options: string[]): Promise<Small> {
  const base = mkdtempSync(join(tmpdir(), 'dfs-memory-'))
  const directory = join(base, 'mnt')
  mkdirSync(directory)
  const script = join(repository, 'dist/bin/dfs-mount.js')
  const args = ['--foreground', `--profile=${join(cluster.dir, 'profile')}`, ...options, directory]
  const child = spawn(process.execPath, [script, ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  t.teardown(async () => {
    child.kill('SIGTERM')
    await ended
    await run('fusermount3', ['-uzq', directory])
    rmSync(base, { recursive: true })
  })
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve())
    child.once('exit', () => reject(new Error('dfs-mount ended')))
  })
  const peakBytes = (): number => {
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
    return Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1]) * 1_024
  }
  return { directory, peakBytes }
}

async function bash(script: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await run('bash', ['-euc', script, ...args], { timeoutMs })
  if (status !== 0) throw new Error(`exit ${status}: ${stderr}`)
  return stdout.trim()
}

t.test('memory stays under the budgets and 250 MB', { skip }, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '1', '--racks', '1', '--replicas', '1')
  const scratch = mkdtempSync(join(tmpdir(), 'dfs-memory-'))
  t.teardown(() => rmSync(scratch, { recursive: true }))
  const piece = join(scratch, 'piece')
  writeFileSync(piece, randomBytes(PIECE_BYTES))

  const below = (t: Test, mount: Small, budgetBytes: number, what: string): void => {
    const peak = mount.peakBytes()
    const over = `${what}: ${formatSize(peak)}, budgets ${formatSize(budgetBytes)}`
    t.ok(peak < budgetBytes + OVERHEAD_BYTES, over)
    t.comment(over)
  }

  await t.test(`a file of ${formatSize(copyBytes)} in and out`, async (t) => {
    const budgets = ['--cache-size=32M', '--write-buffer=64M']
    const mount = await mountWith(t, cluster, ...budgets)
    const file = join(mount.directory, 'large')
    const pieces = String(Math.ceil(copyBytes / PIECE_BYTES))
    await bash('for i in $(seq "$2"); do cat "$0"; done > "$1"', piece, file, pieces)
    below(t, mount, 96 * MIB, 'written')
    const same = 'cmp "$1" <(for i in $(seq "$2"); do cat "$0"; done) && rm "$1"'
    await bash(same, piece, file, pieces)
    below(t, mount, 96 * MIB, 'read')
  })

  await t.test('eight files written and read side by side', { skip: leftOut }, async (t) => {
    const mount = await mountWith(t, cluster, '--cache-size=32M', '--write-buffer=128M')
    const write = 'for i in $(seq 8); do cat "$0" > "$1/$i" & done; wait'
    await bash(write, piece, mount.directory)
    below(t, mount, 160 * MIB, 'written')
    await bash('for i in $(seq 8); do cmp "$0" "$1/$i" & done; wait', piece, mount.directory)
    below(t, mount, 160 * MIB, 'read')
  })

  await t.test('small pieces at random places', { skip: leftOut }, async (t) => {
    const mount = await mountWith(t, cluster, '--cache-size=32M', '--write-buffer=64M')
    const script = `
import os, random, sys
random.seed(1)
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for n in range(20000): os.pwrite(fd, random.randbytes(4096), random.randrange(100000) * 4096)
os.fsync(fd); random.seed(1)
for n in range(20000): random.randbytes(4096); os.pread(fd, 4096, random.randrange(100000) * 4096)
`
    const path = join(mount.directory, 'random')
    const { status, stderr } = await run('python3', ['-c', script, path], { timeoutMs })
    t.equal(status, 0, stderr)
    below(t, mount, 96 * MIB, 'scattered')
  })
})
