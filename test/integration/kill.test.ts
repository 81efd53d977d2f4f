/**
 * kill -9 of any process, at any time, loses nothing that fsync or close had acknowledged; after a
 * restart the folder is whole.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { noMounts, startCluster, type TestCluster } from '../support/cluster.ts'

// A file run by itself would end after tap's 30 s.
t.setTimeout(290_000)

const reason = noMounts()
const options = { ...(reason === undefined ? {} : { skip: reason }), timeout: 280_000 }
const writerScript = fileURLToPath(new URL('../support/writer.js', import.meta.url))

/** Files that the writer has acknowledged before a process is killed under it, and again after. */
const FILES = 5
/** How long that may take on a busy machine. */
const FILES_MS = 60_000

t.test('kill -9 of each process under load loses nothing acknowledged', options, async (t) => {
  const cluster = startCluster(t)
  const journal = join(cluster.dir, 'journal')
  writeFileSync(journal, '')
  for (const victim of ['metadata', 'chunkserver-1', 'chunkserver-2', 'mount', 'metadata']) {
    await t.test(victim, async (t) => {
      const before = acknowledged(journal).size
      const writer = spawn(process.execPath, [writerScript, cluster.mount, journal], {
        stdio: 'ignore',
      })
      t.teardown(() => writer.kill('SIGKILL'))
      await grown(journal, before + FILES)
      cluster.kill(victim)
      await sleep(200)
      cluster.up()
      // The writer goes on over a lost server; with the mount itself gone it has ended.
      if (victim !== 'mount') await grown(journal, acknowledged(journal).size + FILES)
      await end(writer)
      const files = acknowledged(journal)
      t.ok(files.size > before, `${files.size - before} more files were acknowledged`)
      t.same(damage(cluster, files), [], 'each is there and whole')
    })
  }
  cluster.down()
  cluster.up()
  t.same(damage(cluster, acknowledged(journal)), [], 'and still after a restart of everything')
})

t.test('with one chunkserver dead, everything is read and written', options, async (t) => {
  const cluster = startCluster(t)
  const { mount } = cluster
  const content = new Map<string, Buffer>()
  const write = (name: string, bytes: number): void => {
    const data = Buffer.alloc(bytes, name)
    writeFileSync(join(mount, name), data)
    content.set(name, data)
  }
  for (let i = 0; i < 6; i++) write(`before-${i}`, 300_000 + i)
  for (const server of ['chunkserver-1', 'chunkserver-2', 'chunkserver-3']) {
    cluster.kill(server)
    for (let i = 0; i < 3; i++) write(`without-${server}-${i}`, 300_000 + i)
    for (const [name, data] of content) {
      t.ok(readFileSync(join(mount, name)).equals(data), `${name} without ${server}`)
    }
    cluster.up()
  }
  t.equal(readdirSync(mount).length, content.size)
})

/** Waits until so many files are acknowledged. */
async function grown(journal: string, files: number): Promise<void> {
  for (const deadline = Date.now() + FILES_MS; Date.now() < deadline; await sleep(2)) {
    if (acknowledged(journal).size >= files) return
  }
  throw new Error(`fewer than ${files} files were acknowledged in ${FILES_MS} ms`)
}

async function end(writer: ChildProcess): Promise<void> {
  if (writer.exitCode !== null || writer.signalCode !== null) return
  writer.kill('SIGKILL')
  await once(writer, 'exit')
}

/** File name and digest of each file whose close was acknowledged; the last one of a name counts. */
function acknowledged(journal: string): Map<string, string> {
  const lines = readFileSync(journal, 'utf8').split('\n').slice(0, -1)
  return new Map(lines.map((line) => line.split(' ') as [string, string]))
}

function damage(cluster: TestCluster, files: ReadonlyMap<string, string>): string[] {
  return [...files].flatMap(([name, digest]) => {
    const path = join(cluster.mount, name)
    if (!existsSync(path)) return [`${name} is missing`]
    const now = createHash('sha256').update(readFileSync(path)).digest('hex')
    return now === digest ? [] : [`${name} has another content`]
  })
}
