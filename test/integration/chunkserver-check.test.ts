/**
 * `dfs-chunkserver check`, and what the command line refuses.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { limits } from '../../schema/wire/limits.ts'
import { formatCredential } from '../../schema/wire/credential.ts'
import type { CheckResult } from '../../server/chunkserver/check.ts'
import { ChunkserverTest } from '../support/chunkservers.ts'

const BLOCK = limits.sealedBlockBytes

t.setTimeout(120_000)

const executable = fileURLToPath(new URL('../../bin/dfs-chunkserver.js', import.meta.url))

/** Runs to its end without blocking, since the test itself plays the metadata server. */
async function run(...args: string[]) {
  const child = spawn(process.execPath, [executable, ...args], { stdio: 'pipe', timeout: 20_000 })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { status: await ended, stdout, stderr }
}

t.test('verifies a store that no server runs on', async (t) => {
  const test = await ChunkserverTest.create(t)
  const directory = join(t.testdir(), 'server')
  mkdirSync(directory)
  const server = await test.start(directory)
  await test.alive(1)
  const peer = test.peer(server.address, 1)
  for (let chunk = 1; chunk <= 5; chunk++) await test.write(peer, chunk, randomBytes(chunk * BLOCK))

  const running = await run('check', '--dir', directory)
  t.equal(running.status, 1)
  t.match(running.stderr, /stop it first.*directoryInUse/)
  t.equal(await server.kill('SIGTERM'), 0)

  const good = await run('check', '--dir', directory)
  t.equal(good.status, 0)
  t.match(good.stdout, `5 chunks, ${15 * BLOCK} bytes verified: all good`)

  const path = (chunk: number) =>
    join(directory, 'chunks/00/00', chunk.toString(16).padStart(16, '0'))
  const file = readFileSync(path(3))
  file.writeUInt8(file.readUInt8(2 * BLOCK) ^ 1, 2 * BLOCK)
  writeFileSync(path(3), file)
  rmSync(path(5))
  const bad = await run('check', '--dir', directory, '--json')
  t.equal(bad.status, 1)
  const result = JSON.parse(bad.stdout) as CheckResult
  t.match(result, { chunks: 5, goodBytes: 7 * BLOCK, unindexedFiles: 0 })
  t.match(result.problems, [
    { chunk: 3, problem: /block 2 of/ },
    { chunk: 5, problem: /has no file/ },
  ])
  t.same(
    JSON.parse((await run('check', '--dir', directory, '--json')).stdout),
    result,
    'changes nothing',
  )

  rmSync(join(directory, 'index'), { recursive: true })
  t.match((await run('check', '--dir', directory)).stderr, /holds no chunk store/)
})

t.test('says what is wrong with a call', async (t) => {
  const test = await ChunkserverTest.create(t)
  const directory = t.testdir()
  const serve = (...args: string[]) =>
    run('serve', '--dir', directory, '--rack', 'r', '--listen', '127.0.0.1:0', ...args)
  const metadata = ['--metadata', test.metadataAddress]
  const usage = [
    { args: [], says: /metadata/ },
    { args: ['--metadata', 'nowhere'], says: /HOST:PORT/ },
    { args: [...metadata, '--reserve', 'lots'], says: /lots/ },
    { args: [...metadata, '--scrub-rate', '-1'], says: /-1|scrub/ },
    { args: [...metadata, '--advertise', 'x'], says: /advertise/ },
    { args: [...metadata, '--no-such-option'], says: /such/ },
  ]
  for (const { args, says } of usage) {
    const { status, stderr } = await serve(...args)
    t.equal(status, 64, stderr)
    t.match(stderr, says)
  }
  const noToken = await serve(...metadata)
  t.equal(noToken.status, 77)
  t.match(noToken.stderr, /join-token.*tokenInvalid/)
  t.match((await serve(...metadata, '--token', 'rubbish')).stderr, /not a dfs join text/)
  const used = formatCredential({
    kind: 'join',
    addresses: [test.metadataAddress],
    secret: Buffer.from('used up'),
    caPem: test.certificates.caPem,
  })
  t.match((await serve(...metadata, '--token', used)).stderr, /tokenInvalid/)
  t.match((await run('--help')).stdout, /serve/)
  t.match((await run('serve', '--help')).stdout, /first start: joins with a token/)
  t.match((await run()).stderr, /say which command/)
})
