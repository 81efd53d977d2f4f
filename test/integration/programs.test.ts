/**
 * Real programs on a mount of a real cluster: one script each (test/programs), which says why it cannot
 * run where its program is missing. Those that take minutes run with DFS_TEST_LONG=1; DFS_TEST_PROGRAM
 * chooses one by its name.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  statSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { noMounts, repository, startCluster, type TestCluster } from '../support/cluster.ts'
import { mountAgain } from '../support/lockstep.ts'

/** Those that take minutes run too. */
const long = process.env['DFS_TEST_LONG'] === '1'
const SCRIPT_MS = long ? 900_000 : 240_000
const only = process.env['DFS_TEST_PROGRAM']
const SKIPPED = 77
const programs = join(repository, 'test/programs')
/** Who runs what does not run as root. */
const NOBODY = 65_534

const scripts = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => (only === undefined ? name.endsWith('.sh') : name === `${only}.sh`))
    .map((name) => join(folder, name))

t.setTimeout(long ? 3_600_000 : 290_000)
const skip = noMounts() ?? false

t.test('real programs work', { skip }, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '2', '--replicas', '2')
  for (const script of scripts(programs)) await runScript(t, script, [], cluster.mount)
  for (const script of long ? scripts(join(programs, 'long')) : []) {
    const prefix = script.includes('postgresql') ? asNobody() : []
    if (prefix.length > 0 && (statSync('/dev/fuse').mode & 0o006) !== 0o006) {
      t.pass(basename(script), { skip: 'ordinary users may not open /dev/fuse here' })
      continue
    }
    await runScript(t, script, prefix, mountFor(t, cluster, script))
  }
})

/** Runs a script in a new folder of `mount`, by way of the command `prefix`. */
async function runScript(
  t: Test,
  script: string,
  prefix: readonly string[],
  mount: string,
): Promise<void> {
  const name = basename(script, '.sh')
  const line = 'mkdir "$1/$2" && exec bash "$0" "$1/$2"'
  const [program, ...args] = [...prefix, 'bash', '-c', line, script, mount, name]
  const startedMs = performance.now()
  const { status, signal, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    timeout: SCRIPT_MS,
    killSignal: 'SIGKILL',
  })
  const said = `${stdout}${stderr}`.trim()
  t.comment(`${name}: ${Math.round((performance.now() - startedMs) / 1_000)} s`)
  if (status === SKIPPED) t.pass(name, { skip: said.split('\n').at(-1) ?? 'no reason given' })
  else t.equal(status, 0, `${name}${status === 0 ? '' : ` (${signal ?? 'exit'}): ${said}`}`)
}

/** Where a script runs: some need a mount by somebody else, or one for several users. */
function mountFor(t: Test, cluster: TestCluster, script: string): string {
  if (script.includes('postgresql') && asNobody().length > 0) return mountAsNobody(t, cluster)
  if (!script.includes('pjdfstest') || process.env['PJDFSTEST'] === undefined) return cluster.mount
  chmodSync(cluster.mount, 0o755)
  return mountAgain(t, cluster, '--allow-other')
}

/** What makes a command run as an ordinary user; empty when we are one. */
function asNobody(): string[] {
  if (process.getuid?.() !== 0) return []
  return ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups']
}

/** A mount of the same account by an ordinary user, who then owns what he makes there. */
function mountAsNobody(t: Test, cluster: TestCluster): string {
  const base = dirname(cluster.mount)
  chmodSync(base, 0o755)
  const own = mkdtempSync(join(base, 'nobody-'))
  cpSync(join(cluster.dir, 'profile'), join(own, 'profile'), { recursive: true })
  mkdirSync(join(own, 'mnt'))
  for (const path of [own, join(own, 'mnt'), join(own, 'profile')]) chownSync(path, NOBODY, NOBODY)
  chownSync(join(own, 'profile/profile.json'), NOBODY, NOBODY)
  // The root folder is its owner's, here root's.
  chmodSync(cluster.mount, 0o777)
  const [program, ...prefix] = asNobody()
  const script = join(repository, 'dist/bin/dfs-mount.js')
  const options = [`--profile=${join(own, 'profile')}`, `--log-file=${join(own, 'log')}`]
  const args = [...prefix, process.execPath, script, ...options, join(own, 'mnt')]
  const { status, stderr } = spawnSync(program ?? process.execPath, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`dfs-mount: exit ${status}\n${stderr}`)
  t.teardown(() => {
    spawnSync('fusermount3', ['-u', '-z', join(own, 'mnt')])
  })
  return join(own, 'mnt')
}
