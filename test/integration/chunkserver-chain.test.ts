/**
 * Chains of chunkservers that break: killed, frozen, cut off.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { limits } from '../../schema/wire/limits.ts'
import { ChunkserverTest, type ServerProcess } from '../support/chunkservers.ts'
import { until } from '../support/transport.ts'

const BLOCK = limits.sealedBlockBytes

t.setTimeout(60_000)

async function three(t: Test) {
  const test = await ChunkserverTest.create(t)
  const base = t.testdir()
  const servers: ServerProcess[] = []
  for (const id of [1, 2, 3]) {
    mkdirSync(join(base, `s${id}`))
    servers.push(await test.start(join(base, `s${id}`)))
    await test.alive(id)
  }
  const [one, two, last] = servers as [ServerProcess, ServerProcess, ServerProcess]
  const chain = [
    { id: 2, rack: 'r1', addresses: [two.address] },
    { id: 3, rack: 'r1', addresses: [last.address] },
  ]
  return { test, one, two, last, chain, peer: test.peer(one.address, 1) }
}

t.test('a chain with a killed server in it still stores on the others', async (t) => {
  const { test, two, chain, peer } = await three(t)
  const bytes = randomBytes(1_000 * BLOCK)
  await test.write(peer, 1, bytes.subarray(0, 10), { chain })
  const writing = test.write(peer, 2, bytes, { chain })
  await two.kill('SIGKILL')
  const during = await writing
  t.ok(during.servers.includes(1), 'stored on the first')
  t.equal(during.servers.length + during.failed.length, 3, 'everyone is accounted for')
  t.ok((await test.read(peer, 2)).bytes.equals(bytes))

  const after = await test.write(peer, 3, bytes.subarray(0, 5 * BLOCK), { chain })
  t.ok(after.servers.includes(1))
  const repeated = await test.write(peer, 4, bytes.subarray(0, 5 * BLOCK), { chain })
  t.same(repeated.servers, [1, 3], 'the dead server is skipped')
  t.match(repeated.failed, [{ server: 2 }])
})

t.test('what a killed first server held at the next is free again within seconds', async (t) => {
  const { test, one, two, chain, peer } = await three(t)
  const bytes = randomBytes(1_000 * BLOCK)
  const writing = test.write(peer, 1, bytes, { chain })
  const lost = t.rejects(writing, { code: 'connectionLost' })
  const incoming = (): number => readdirSync(join(two.directory, 'chunks/incoming')).length
  t.ok(await until(() => incoming() > 0), 'it has reached the second server')
  await one.kill('SIGKILL')
  await lost
  const second = test.peer(two.address, 2)
  const start = performance.now()
  let refused = 0
  for (let stored = false; !stored;) {
    try {
      await test.write(second, 1, bytes.subarray(0, 5 * BLOCK))
      stored = true
    } catch (error) {
      t.match(error, { code: 'tooManyRequests' })
      refused++
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const seconds = (performance.now() - start) / 1_000
  t.ok(seconds < 8, `${seconds.toFixed(1)} s, ${refused} times refused`)
  t.ok((await test.read(second, 1)).bytes.equals(bytes.subarray(0, 5 * BLOCK)))
})

t.test(
  'a frozen server in the chain is given up within seconds, and used again later',
  async (t) => {
    const { test, two, chain, peer } = await three(t)
    const bytes = randomBytes(800 * BLOCK)
    await test.write(peer, 1, bytes.subarray(0, 10), { chain })
    two.child.kill('SIGSTOP')
    const start = performance.now()
    const frozen = await test.write(peer, 2, bytes, { chain })
    const seconds = (performance.now() - start) / 1_000
    t.same(frozen.servers, [1])
    t.same(
      frozen.failed.map(({ server }) => server),
      [2, 3],
    )
    t.ok(seconds < 15, `${seconds.toFixed(1)} s`)
    t.ok((await test.read(peer, 2)).bytes.equals(bytes))
    two.child.kill('SIGCONT')
    await test.alive(2)
    const again = await test.write(peer, 3, bytes.subarray(0, 3 * BLOCK), { chain })
    t.same(again.servers, [1, 2, 3])
  },
)
