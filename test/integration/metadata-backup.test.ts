/**
 * The metadata server's disk is lost, and a backup that was taken under load takes its place: all that
 * was there at the backup is whole, byte by byte, and the cluster goes on.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { noMounts, runDfs, startCluster, type TestCluster } from '../support/cluster.ts'

// A file run by itself would end after tap's 30 s.
t.setTimeout(290_000)

const reason = noMounts()
const options = { ...(reason === undefined ? {} : { skip: reason }), timeout: 280_000 }
const writerScript = fileURLToPath(new URL('../support/writer.js', import.meta.url))
const GROWTH_MS = 60_000
const FILE_BYTES = 300_000

t.test('from a backup taken under load, everything of then is there again', options, async (t) => {
  const cluster = startCluster(t)
  const { mount } = cluster
  const dir = join(cluster.dir, 'metadata')
  const to = join(cluster.dir, 'a.backup')
  const journal = join(cluster.dir, 'journal')
  writeFileSync(journal, '')
  const content = new Map<string, Buffer>()
  for (let i = 0; i < 5; i++) {
    const data = Buffer.alloc(FILE_BYTES + i, `content ${i}`)
    writeFileSync(join(mount, `kept-${i}`), data)
    content.set(`kept-${i}`, data)
  }
  const writer = spawn(process.execPath, [writerScript, mount, journal], { stdio: 'ignore' })
  t.teardown(() => writer.kill('SIGKILL'))
  await grown(journal, 3)
  const before = acknowledged(journal)
  const taken = runDfs('dfs-metadata', ['backup', '--dir', dir, '--to', to])
  t.equal(taken.status, 0, taken.stderr)
  t.match(taken.stderr, /a\.backup: \d+ records, .* as secret as/u)
  t.equal(statSync(to).mode & 0o777, 0o600)
  await grown(journal, before.length + 5)
  writer.kill('SIGKILL')
  await once(writer, 'exit')
  writeFileSync(join(mount, 'lost'), Buffer.alloc(FILE_BYTES, 'lost'))

  cluster.kill('mount')
  cluster.kill('metadata')
  rmSync(dir, { recursive: true })
  const restored = runDfs('dfs-metadata', ['restore', '--from', to, '--dir', dir])
  t.equal(restored.status, 0, restored.stderr)
  const checked = runDfs('dfs-metadata', ['check', '--dir', dir])
  t.equal(checked.status, 0, checked.stdout)
  upAgain(t, cluster)

  for (const [name, data] of content) {
    t.ok(readFileSync(join(mount, name)).equals(data), `${name} is whole`)
  }
  for (const { name, digest } of before) {
    t.equal(hash(readFileSync(join(mount, name))), digest, `${name} is whole`)
  }
  t.throws(() => readFileSync(join(mount, 'lost')), { code: 'ENOENT' })
  const again = Buffer.alloc(FILE_BYTES, 'again')
  writeFileSync(join(mount, 'lost'), again)
  t.ok(readFileSync(join(mount, 'lost')).equals(again), 'and the cluster goes on')
  const { servers } = JSON.parse(cluster.dfs('status', '--json').stdout) as {
    servers: { state: string }[]
  }
  t.same(
    servers.map(({ state }) => state),
    ['alive', 'alive', 'alive'],
    'the chunkservers came back by themselves',
  )
  const released = runDfs('dfs-metadata', ['release-unknown', '--dir', dir])
  t.match(released.stderr, /are deleted from now on/u)
})

/** Up with the older tree; whoever has seen a newer one must accept it first. */
function upAgain(t: Test, cluster: TestCluster): void {
  try {
    cluster.up()
  } catch (error) {
    t.match(String(error), /rolledBack/u, 'the older tree is refused')
    const accepted = cluster.dfs('accept-rollback', '--yes')
    t.equal(accepted.status, 0, accepted.stderr)
    cluster.up()
  }
}

interface Acknowledged {
  readonly name: string
  readonly digest: string
}

function acknowledged(journal: string): Acknowledged[] {
  const lines = readFileSync(journal, 'utf8').split('\n').slice(0, -1)
  return lines.map((line) => {
    const [name = '', digest = ''] = line.split(' ')
    return { name, digest }
  })
}

async function grown(journal: string, files: number): Promise<void> {
  for (const deadline = Date.now() + GROWTH_MS; Date.now() < deadline; await sleep(20)) {
    if (acknowledged(journal).length >= files) return
  }
  throw new Error(`fewer than ${files} files were acknowledged in ${GROWTH_MS} ms`)
}

const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
