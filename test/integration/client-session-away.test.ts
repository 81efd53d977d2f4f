/**
 * The session while the metadata server is away: frozen, killed for good, or just when it is closed.
 * Everything ends in bounded time.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { methods } from '../../schema/methods.ts'
import type { MetadataSession } from '../../mount/client/api.ts'
import { openClient } from '../../mount/client/open.ts'
import {
  createFile as create,
  listNames as names,
  MetadataProcess,
  openSession,
} from '../support/client-metadata.ts'
import { LogLines } from '../support/store-processes.ts'
import { silent } from '../support/transport.ts'

const metadata = await MetadataProcess.start(t)
const profile = await metadata.register('alice', 'a password')
const open = async (t: Test): Promise<MetadataSession> => openSession(t, profile)

t.test('a server that freezes for longer than it is believed takes up where it was', async (t) => {
  const session = await open(t)
  metadata.signal('SIGSTOP')
  const creating = create(session, 'created while frozen')
  await sleep(9_000)
  metadata.signal('SIGCONT')
  await creating
  t.ok((await names(session)).includes('created while frozen'))
})

t.test(
  'a closed session refuses, and closing does not wait for a server that is gone',
  async (t) => {
    const client = await openClient({ profile, log: silent })
    client.session.held(1)
    await metadata.kill()
    client.session.release(1)
    const waiting = client.session.read(methods.statfs, {})
    const refused = t.rejects(waiting, { code: /^(cancelled|shuttingDown|connectionLost)$/ })
    const startedMs = performance.now()
    await client.close()
    t.ok(performance.now() - startedMs < 4_000)
    await refused
    await t.rejects(client.session.read(methods.statfs, {}), { name: 'DfsError' })
    await metadata.serve()
  },
)

t.test('closing while the server is away is no news, and many may wait for it', async (t) => {
  const warnings: Error[] = []
  const note = (warning: Error): number => warnings.push(warning)
  process.on('warning', note)
  t.teardown(() => process.off('warning', note))
  const log = new LogLines()
  const client = await openClient({ profile, log })
  await metadata.kill()
  const waiting = Array.from({ length: 40 }, async () =>
    client.session.read(methods.statfs, {}).catch((error: unknown) => error),
  )
  // Long enough for all of them to have failed once, so that they wait to be repeated.
  await sleep(4_000)
  const before = log.lines.length
  await client.close()
  for (const error of await Promise.all(waiting)) t.match(error, { name: 'DfsError' })
  t.same(log.lines.slice(before), [], 'nothing is logged from the close on')
  t.same(warnings, [], 'Node sees no leak of listeners')
  await metadata.serve()
})

t.test('with the server gone for good, calls end at their deadline and say why', async (t) => {
  const session = await open(t)
  await metadata.kill()
  const startedMs = performance.now()
  await t.rejects(session.read(methods.statfs, {}), {
    code: /^(connectionRefused|connectionLost|deadlineExceeded)$/,
    message: /statfs/,
  })
  t.ok(performance.now() - startedMs < 13_000, `${performance.now() - startedMs} ms`)
})
