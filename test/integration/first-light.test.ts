/**
 * The whole path with real input: a package of thousands of files and 200 MB of random bytes go
 * through the mount onto the chunkservers; everything is stopped and started again; every byte comes
 * back; and nothing that the servers stored tells a name or a content.
 */
import { createHash, randomBytes } from 'node:crypto'
import {
  createReadStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { noMounts, repository, run, startCluster } from '../support/cluster.ts'

const MB = 1_048_576
const RANDOM_BYTES = 200 * MB
const MARKER = 'A-marker-that-no-server-may-ever-see-0123456789'
const SECRET_NAME = 'a-very-telling-file-name.txt'
const SECRET_FOLDER = 'a-very-telling-folder-name'

// A file run by itself would end after tap's 30 s.
t.setTimeout(290_000)

const reason = noMounts()

t.test(
  'everything comes back after a restart, and the servers saw none of it',
  {
    ...(reason === undefined ? {} : { skip: reason }),
    timeout: 280_000,
  },
  async (t) => {
    const cluster = startCluster(t)
    const { mount } = cluster
    const source = join(repository, 'node_modules/typescript')
    const digest = await writeRandomFile(join(mount, 'random.bin'))
    run('cp', '-r', source, join(mount, 'typescript'))
    mkdirSync(join(mount, SECRET_FOLDER))
    writeFileSync(join(mount, SECRET_FOLDER, SECRET_NAME), `${MARKER}\n`.repeat(5_000))
    writeFileSync(join(mount, 'small'), MARKER)

    cluster.down()
    t.notOk(readdirSync(mount).length, 'the mount point is empty while nothing is mounted')
    cluster.up()

    t.equal(await hashFile(join(mount, 'random.bin')), digest, 'the random file is the same')
    run('diff', '-r', source, join(mount, 'typescript'))
    t.pass('diff -r finds no difference in the package')
    t.equal(
      readFileSync(join(mount, SECRET_FOLDER, SECRET_NAME), 'utf8'),
      `${MARKER}\n`.repeat(5_000),
    )

    const names = ['typescript.d.ts', 'lib.es2015.d.ts', 'random.bin', SECRET_NAME, SECRET_FOLDER]
    const content = [MARKER, 'Copyright (c) Microsoft Corporation']
    const stored = storedFiles(cluster.dir)
    const total = stored.reduce((sum, path) => sum + statSync(path).size, 0)
    t.ok(total > 2 * RANDOM_BYTES, `two replicas are stored: ${Math.round(total / MB)} MB`)
    const found = await search(stored, [...names, ...content])
    t.same([...found], [], 'no name and no content in anything stored')
    t.same([...(await search(stored, ['rack-1']))], ['rack-1'], 'the search finds what is there')
  },
)

async function writeRandomFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  const file = await open(path, 'w')
  for (let written = 0; written < RANDOM_BYTES; written += MB) {
    const piece = randomBytes(MB)
    hash.update(piece)
    await file.write(piece)
  }
  await file.close()
  return hash.digest('hex')
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path, { highWaterMark: MB })) {
    hash.update(piece as Buffer)
  }
  return hash.digest('hex')
}

/** Every file that the metadata server and the chunkservers keep. */
function storedFiles(dir: string): string[] {
  return readdirSync(dir)
    .filter((name) => name === 'metadata' || name.startsWith('chunkserver-'))
    .flatMap((name) =>
      readdirSync(join(dir, name), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name)),
    )
}

/** Which of the texts stand in any of the files, also across the borders of what is read at once. */
async function search(paths: readonly string[], texts: readonly string[]): Promise<Set<string>> {
  const found = new Set<string>()
  const needles = texts.map((text) => ({ text, bytes: Buffer.from(text) }))
  const overlap = Math.max(...needles.map(({ bytes }) => bytes.length)) - 1
  for (const path of paths) {
    let tail = Buffer.alloc(0)
    for await (const piece of createReadStream(path, { highWaterMark: MB })) {
      const bytes = Buffer.concat([tail, piece as Buffer])
      for (const needle of needles) if (bytes.includes(needle.bytes)) found.add(needle.text)
      tail = bytes.subarray(-overlap)
    }
  }
  return found
}
