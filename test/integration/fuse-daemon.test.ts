/**
 * `dfs-mount` as people run it: in the background, next to another mount of the same account, ended by
 * signals, from outside and by force, and as an ordinary user.
 */
import { spawnSync } from 'node:child_process'
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { noMounts, repository, run, runDfs, startCluster } from '../support/cluster.ts'
import type { TestCluster } from '../support/cluster.ts'

/** Longest wait for a process to end, ms. */
const endMs = 20_000
const nobody = 65_534

t.setTimeout(120_000)
const reason = noMounts()

t.test('dfs-mount', { skip: reason ?? false }, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '1', '--racks', '1', '--replicas', '1')
  await t.test('mounts in the background and ends by a signal', (t) => bySignal(t, cluster))
  await t.test('ends when somebody unmounts', (t) => fromOutside(t, cluster))
  await t.test('repairs what a killed one left', (t) => afterKill(t, cluster))
  await t.test('says why it cannot mount', (t) => refused(t, cluster))
  await t.test('mounts read-only', (t) => readOnly(t, cluster))
  await t.test('works for an ordinary user', (t) => asNobody(t, cluster))
})

interface Folders {
  readonly mount: string
  readonly logFile: string
}

function folders(t: Test): Folders {
  const base = mkdtempSync(join(tmpdir(), 'dfs-fuse-'))
  const mount = join(base, 'mnt')
  mkdirSync(mount)
  t.teardown(() => {
    spawnSync('fusermount3', ['-uzq', mount])
    rmSync(base, { recursive: true })
  })
  return { mount, logFile: join(base, 'mount.log') }
}

function start(t: Test, cluster: TestCluster, at: Folders, ...options: string[]): number {
  const profile = join(cluster.dir, 'profile')
  const args = [at.mount, '--profile', profile, '--log-file', at.logFile, ...options]
  const { status, stdout, stderr } = runDfs('dfs-mount', args)
  t.equal(status, 0, stderr)
  t.match(stdout, `mounted on ${at.mount}`)
  return pidOf(at)
}

/** The process that wrote the last line of the log. */
function pidOf({ logFile }: Folders): number {
  const line = readFileSync(logFile, 'utf8').trimEnd().split('\n').at(-1) ?? ''
  return (JSON.parse(line) as { pid: number }).pid
}

async function ended(pid: number): Promise<boolean> {
  for (const end = Date.now() + endMs; Date.now() < end; await pause(50)) {
    if (!existsSync(`/proc/${pid}`)) return true
  }
  return false
}

async function bySignal(t: Test, cluster: TestCluster): Promise<void> {
  const at = folders(t)
  const pid = start(t, cluster, at)
  const text = 'through the second mount\n'.repeat(10_000)
  writeFileSync(join(at.mount, 'second'), text)
  t.equal(readFileSync(join(cluster.mount, 'second'), 'utf8'), text, 'the first mount sees it')
  mkdirSync(join(cluster.mount, 'folder'))
  t.ok(readdirSync(at.mount).includes('folder'), 'and the other way round')
  process.kill(pid, 'SIGTERM')
  t.ok(await ended(pid))
  t.same(readdirSync(at.mount), [])
  t.match(readFileSync(at.logFile, 'utf8'), /everything is durable/)
}

async function fromOutside(t: Test, cluster: TestCluster): Promise<void> {
  const at = folders(t)
  const pid = start(t, cluster, at)
  writeFileSync(join(at.mount, 'outside'), 'x')
  run('fusermount3', '-u', at.mount)
  t.ok(await ended(pid))
  t.equal(readFileSync(join(cluster.mount, 'outside'), 'utf8'), 'x')
}

async function afterKill(t: Test, cluster: TestCluster): Promise<void> {
  const at = folders(t)
  const killed = start(t, cluster, at)
  writeFileSync(join(at.mount, 'kept'), 'x')
  process.kill(killed, 'SIGKILL')
  t.ok(await ended(killed))
  t.throws(() => readdirSync(at.mount), { code: 'ENOTCONN' })
  const pid = start(t, cluster, at)
  t.equal(readFileSync(join(at.mount, 'kept'), 'utf8'), 'x')
  process.kill(pid, 'SIGINT')
  t.ok(await ended(pid))
}

async function refused(t: Test, cluster: TestCluster): Promise<void> {
  const at = folders(t)
  const profile = join(cluster.dir, 'profile')
  const log = ['--log-file', at.logFile]
  const mounted = runDfs('dfs-mount', [cluster.mount, '--profile', profile, ...log])
  t.equal(mounted.status, 1)
  t.match(mounted.stderr, /mounted there already/)
  const noProfile = runDfs('dfs-mount', [at.mount, '--profile', `${profile}-none`, ...log])
  t.not(noProfile.status, 0)
  t.match(noProfile.stderr, /profile/)
  t.notMatch(noProfile.stderr, /bug/)
  const size = runDfs('dfs-mount', [at.mount, '--cache-size', 'much'])
  t.equal(size.status, 64)
  t.match(size.stderr, /"much" is not a size/)
}

async function readOnly(t: Test, cluster: TestCluster): Promise<void> {
  const at = folders(t)
  writeFileSync(join(cluster.mount, 'readable'), 'x')
  const pid = start(t, cluster, at, '--read-only')
  t.equal(readFileSync(join(at.mount, 'readable'), 'utf8'), 'x')
  t.throws(() => writeFileSync(join(at.mount, 'readable'), 'y'), { code: 'EROFS' })
  process.kill(pid, 'SIGTERM')
  t.ok(await ended(pid))
}

/** A process of an ordinary user mounts, writes and unmounts, through the setuid fusermount3. */
async function asNobody(t: Test, cluster: TestCluster): Promise<void> {
  if (process.getuid?.() !== 0) {
    t.comment('not needed: the whole test runs as an ordinary user')
    return
  }
  const become = ['--reuid', String(nobody), '--regid', String(nobody), '--clear-groups', '--']
  const asUser = (...line: string[]): ReturnType<typeof spawnSync> =>
    spawnSync('setpriv', [...become, ...line], { encoding: 'utf8', cwd: '/' })
  const script = join(repository, 'dist/bin/dfs-mount.js')
  if (asUser('test', '-r', script).status !== 0) {
    t.comment('not tested: this checkout cannot be read by an ordinary user')
    return
  }
  if (asUser('test', '-w', '/dev/fuse').status !== 0) {
    t.comment('not tested: an ordinary user may not open /dev/fuse on this machine')
    return
  }
  run('chmod', '777', cluster.mount)
  const at = folders(t)
  const home = join(at.mount, '..')
  cpSync(join(cluster.dir, 'profile'), join(home, 'profile'), { recursive: true })
  for (const path of [
    '',
    'mnt',
    'profile',
    ...readdirSync(join(home, 'profile')).map((name) => `profile/${name}`),
  ]) {
    chownSync(join(home, path), nobody, nobody)
  }
  const args = [at.mount, '--profile', join(home, 'profile'), '--log-file', at.logFile]
  const mounted = asUser(process.execPath, script, ...args)
  t.equal(mounted.status, 0, String(mounted.stderr))
  const pid = pidOf(at)
  const file = join(at.mount, 'by-nobody')
  t.equal(
    asUser('sh', '-c', `echo mine > ${file} && touch -m ${file} && cat ${file}`).stdout,
    'mine\n',
  )
  t.throws(() => readdirSync(at.mount), { code: 'EACCES' }, 'others are kept out, even root')
  const other = asUser(process.execPath, script, ...args, '--allow-other')
  t.match(String(other.stderr), /mounted there already|user_allow_other/)
  t.equal(asUser('fusermount3', '-u', at.mount).status, 0)
  t.ok(await ended(pid))
  t.equal(readFileSync(join(cluster.mount, 'by-nobody'), 'utf8'), 'mine\n')
}
