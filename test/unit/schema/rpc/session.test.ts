/**
 * The request layer without sockets or timers: two QUIC connections joined in memory, and a clock
 * that the test moves.
 */
import t from 'tap'
import { MethodTable } from '../../../../schema/rpc/method-table.ts'
import type { ServerCall } from '../../../../schema/rpc/api.ts'
import { QuichePair } from '../../../support/quiche-pair.ts'
import { echo, method, mirror, stall, testService } from '../../../support/transport.ts'

const hello = Buffer.from('hello')

t.test('a call is answered and forgotten on both sides', async (t) => {
  const pair = await QuichePair.create(testService())
  const call = pair.client.start(echo, hello, true)
  pair.settle()
  t.same(Buffer.from(await call.response), hello)
  t.equal(pair.client.open, 0)
  t.equal(pair.server.open, 0)
})

t.test('either side may call the other', async (t) => {
  const pair = await QuichePair.create(testService())
  const call = pair.server.start(echo, hello, true)
  pair.settle()
  t.same(Buffer.from(await call.response), hello)
})

t.test('a deadline ends the call exactly when it is reached', async (t) => {
  const pair = await QuichePair.create(testService())
  const call = pair.client.start(stall, hello, true, { deadlineMs: 1_000 })
  let ended: unknown
  call.response.catch((error: unknown) => (ended = error))
  pair.settle()
  t.equal(pair.client.wakeAtMs, 1_000)
  pair.pass(999)
  await Promise.resolve()
  t.equal(ended, undefined, 'not a millisecond early')
  pair.pass(1)
  await Promise.resolve()
  t.match(ended, { code: 'deadlineExceeded' })
  pair.settle()
  pair.pass(10)
  pair.settle()
  t.equal(pair.client.open, 0)
  t.equal(pair.server.open, 0)
  t.equal(pair.client.wakeAtMs, Infinity, 'no timer is left')
})

t.test('the server ends what its caller no longer waits for', async (t) => {
  let call: ServerCall | undefined
  const service = new MethodTable()
  service.handle(stall, async (_request, serving) => {
    call = serving
    return new Promise<Uint8Array>(() => undefined)
  })
  const pair = await QuichePair.create(service)
  const waiting = pair.client.start(stall, hello, true, { deadlineMs: 500 })
  waiting.response.catch(() => undefined)
  pair.settle()
  t.equal(call?.signal.aborted, false)
  pair.pass(500)
  pair.settle()
  t.equal(call?.signal.aborted, true)
})

t.test('cancelling reaches the handler and leaves nothing behind', async (t) => {
  let call: ServerCall | undefined
  const service = new MethodTable()
  service.handle(stall, async (_request, serving) => {
    call = serving
    return new Promise<Uint8Array>(() => undefined)
  })
  const pair = await QuichePair.create(service)
  const waiting = pair.client.start(stall, hello, true)
  pair.settle()
  waiting.cancel()
  await t.rejects(waiting.response, { code: 'cancelled' })
  pair.settle()
  pair.pass(10)
  pair.settle()
  t.equal(call?.signal.aborted, true)
  t.match(call?.signal.reason, { code: 'cancelled' })
  t.equal(pair.client.open, 0)
  t.equal(pair.server.open, 0)
})

t.test('an end without payload arrives, however long after all else', async (t) => {
  let finish: (() => void) | undefined
  const service = new MethodTable()
  service.handle(mirror, async (request, call) => {
    call.respond(request)
    const got = await call.read(Buffer.alloc(10))
    await new Promise<void>((resolve) => (finish = resolve))
    t.equal(got, 0, 'the request has no payload')
    return undefined
  })
  const pair = await QuichePair.create(service)
  const call = pair.client.start(mirror, hello, false)
  pair.settle()
  t.same(Buffer.from(await call.response), hello, 'the answer does not wait for the end')
  const reading = call.read(Buffer.alloc(10))
  // All that was sent so far is acknowledged by now.
  pair.settle()
  call.end()
  pair.settle()
  await new Promise((resolve) => setImmediate(resolve))
  t.type(finish, 'function', 'the server sees the end of the request')
  finish?.()
  await new Promise((resolve) => setImmediate(resolve))
  pair.settle()
  t.equal(await reading, 0)
  t.equal(pair.client.open, 0)
  t.equal(pair.server.open, 0)
})

t.test('payload arrives whole, in whatever pieces it is written and read', async (t) => {
  const pair = await QuichePair.create(testService())
  for (const pieces of [[1], [1, 1], [2, 1, 40_000], [40_000, 1]]) {
    const call = pair.client.start(mirror, hello, false)
    const sent: Buffer[] = []
    for (const bytes of pieces) {
      const piece = Buffer.alloc(bytes, sent.length + 1)
      sent.push(piece)
      await call.write(piece)
      pair.settle()
    }
    call.end()
    for (let n = 0; n < 20; n++) {
      pair.settle()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await call.response
    const got: Buffer[] = []
    const into = Buffer.alloc(1_000)
    for (let n = await call.read(into); n > 0; n = await call.read(into)) {
      got.push(Buffer.from(into.subarray(0, n)))
      pair.settle()
    }
    t.same(Buffer.concat(got), Buffer.concat(sent))
  }
})

t.test('calls beyond the allowed streams wait, and expire while they wait', async (t) => {
  const pair = await QuichePair.create(testService())
  const calls = Array.from({ length: 1_100 }, () =>
    pair.client.start(stall, hello, true, { deadlineMs: 100 }),
  )
  const ends = Promise.allSettled(calls.map(async ({ response }) => response))
  pair.settle()
  t.ok(pair.server.open <= 1_024)
  t.equal(pair.client.open, 1_100)
  pair.pass(100)
  const codes = (await ends).map((end): unknown =>
    end.status === 'rejected' ? end.reason : undefined,
  )
  t.ok(codes.every((reason) => (reason as { code?: string }).code === 'deadlineExceeded'))
  t.match(codes[1_099], { message: /waiting for a free stream/u })
})

t.test('the end of the connection ends every call with its reason', async (t) => {
  const { DfsError } = await import('../../../../schema/wire/status.ts')
  const pair = await QuichePair.create(testService())
  const call = pair.client.start(stall, hello, true)
  const open = pair.client.start(mirror, hello, false)
  open.response.catch(() => undefined)
  pair.settle()
  t.same(Buffer.from(await open.response), hello)
  const reading = open.read(Buffer.alloc(10))
  pair.client.fail(new DfsError('connectionLost', 'gone'))
  await t.rejects(call.response, { code: 'connectionLost' })
  await t.rejects(Promise.resolve(reading), { code: 'connectionLost' })
  await t.rejects(Promise.resolve(open.write(hello)), { code: 'connectionLost' })
  t.throws(() => pair.client.start(echo, hello, true), { code: 'connectionLost' })
  t.equal(pair.client.open, 0)
  t.equal(pair.client.wakeAtMs, Infinity)
})

t.test('a draining server refuses new requests and finishes old ones', async (t) => {
  let finish: ((answer: Uint8Array) => void) | undefined
  const service = testService()
  service.handle(method(30), async () => new Promise<Uint8Array>((resolve) => (finish = resolve)))
  const pair = await QuichePair.create(service)
  const old = pair.client.start(method(30), hello, true)
  pair.settle()
  pair.server.draining = true
  const late = pair.client.start(echo, hello, true)
  pair.settle()
  await t.rejects(late.response, { code: 'shuttingDown' })
  finish?.(hello)
  await new Promise((resolve) => setImmediate(resolve))
  pair.settle()
  t.same(Buffer.from(await old.response), hello)
})

t.test('a frame that never arrives whole is ended, and counted', async (t) => {
  const pair = await QuichePair.create(testService())
  const { port } = pair.client
  port.send(port.open(), Buffer.from([1, 0, 0]), false)
  pair.settle()
  t.equal(pair.server.open, 1)
  pair.pass(10_000)
  pair.settle()
  t.match(pair.counted, [{ code: 'deadlineExceeded' }])
  pair.pass(20_000)
  t.equal(pair.server.open, 0)
})

t.test('a method is served once', async (t) => {
  const table = new MethodTable()
  table.handle(echo, (request) => request)
  t.throws(() => table.handle(echo, (request) => request), /registered already/u)
})
