/**
 * A directory of very many entries at a mount: listed whole, each entry once, within a bound of memory,
 * also while it changes, and removed again.
 *
 * DFS_TEST_ENTRIES=200000 makes it as large as that, in place of 4,000, and removes all of it by
 * `rm -r`, in place of a tenth.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openClient } from '../../mount/client/open.ts'
import { readProfile } from '../../mount/client/profile.ts'
import { openFileSystem } from '../../mount/vfs/file-system.ts'
import { noMounts, startCluster, type TestCluster } from '../support/cluster.ts'
import { run, shell } from '../support/fuse-mount.ts'
import { noPython } from '../support/lockstep.ts'
import { silent } from '../support/transport.ts'

const entries = Number(process.env['DFS_TEST_ENTRIES'] ?? 4_000)
const all = process.env['DFS_TEST_ENTRIES'] !== undefined
const OWNER = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
/** Requests under way while the directory is filled. */
const AT_ONCE = 256
/** What listing may take: about 600 bytes an entry, for two programs, and what garbage adds. */
const LISTING_BYTES = 128 * 1_048_576 + 4 * 600 * entries
const timeoutMs = 200_000 + 20 * entries

t.setTimeout(timeoutMs)
const skip = noMounts() ?? noPython() ?? false

const nameOf = (n: number): string => `entry-${String(n).padStart(6, '0')}`

/** Does `work` for all numbers below `count`, many at a time. */
async function many(count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

/** Without the kernel between, which asks for one name of a directory at a time. */
async function fill(cluster: TestCluster): Promise<void> {
  const profile = await readProfile(join(cluster.dir, 'profile'))
  const client = await openClient({ profile, log: silent })
  const fs = await openFileSystem({ client, log: silent })
  await fs.mkdir('/many', 0o755, OWNER)
  await many(entries, async (n) => fs.mknod(`/many/${nameOf(n)}`, 0o100_640, 0, OWNER))
  await fs.close()
  await client.close()
}

/** How many entries are listed, how many different names and inodes, and how many files. */
const LIST = `
import os, sys
found = [(e.name, e.inode(), e.is_file(follow_symlinks=False)) for e in os.scandir(sys.argv[1])]
print(len(found), len({name for name, _, _ in found}), len({inode for _, inode, _ in found}), sum(f for _, _, f in found))
`

t.test(`a directory of ${entries} entries`, { skip }, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '1', '--racks', '1', '--replicas', '1')
  const directory = join(cluster.mount, 'many')
  let startedMs = performance.now()
  const took = (what: string): void => {
    t.comment(`${what}: ${Math.round(performance.now() - startedMs)} ms`)
    startedMs = performance.now()
  }
  const peakBytes = (): number => {
    const status = readFileSync(`/proc/${cluster.pid('mount')}/status`, 'utf8')
    return Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1]) * 1_024
  }
  const list = async (): Promise<string> => {
    const { stdout, stderr } = await run('python3', ['-c', LIST, directory], { timeoutMs })
    return stdout.trim() || stderr
  }

  await fill(cluster)
  took('filled')
  const before = peakBytes()
  const whole = Array.from({ length: 4 }, () => entries).join(' ')
  t.equal(await list(), whole, 'names and numbers, each once')
  took('listed')
  t.same(await Promise.all([list(), list()]), [whole, whole], 'two at once')
  took('listed by two')
  const grown = peakBytes() - before
  t.ok(grown < LISTING_BYTES, `${Math.round(grown / 1_048_576)} MiB more for that`)
  const looked = Math.min(entries, 2_000)
  t.equal(
    await shell(
      directory,
      `ls -U | head -${looked} | xargs stat -c %a,%s | sort | uniq -c | xargs`,
    ),
    `${looked} 640,0`,
    'attributes',
  )
  took('looked at')

  // While others are added and removed, everything that stays is listed once.
  const change = 'for n in $(seq 200); do echo > new-$n; done; rm new-*'
  const [changed, listed] = await Promise.all([shell(directory, change), list()])
  t.equal(changed, '')
  const [count, names] = listed.split(' ').map(Number)
  t.ok((count ?? 0) >= entries && count === names, `${listed} while it changed`)
  took('listed while it changed')

  const removal = all ? 'rm -r ../many' : 'rm entry-*7'
  const { status, stderr } = await run('bash', ['-euc', `cd "$0"; ${removal}`, directory], {
    timeoutMs,
  })
  t.equal(status, 0, stderr)
  took('removed')
  if (all) t.same(readdirSync(cluster.mount), [], 'nothing is left')
  else t.equal((await list()).split(' ')[0], String((entries * 9) / 10), 'the rest is left')
})
