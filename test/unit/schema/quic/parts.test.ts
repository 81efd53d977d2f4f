/** The transport's small pure parts. */
import * as fc from 'fast-check'
import t from 'tap'
import { AckPolicy } from '../../../../schema/quic/ack-policy.ts'
import { formatAddress, parseAddress } from '../../../../schema/quic/address.ts'
import { describeEnd, type EndOfConnection } from '../../../../schema/quic/close-reason.ts'
import { interfaceDatagramBytes, isThisMachine } from '../../../../schema/quic/datagram-size.ts'
import { Liveness } from '../../../../schema/quic/liveness.ts'
import { RetryTokens } from '../../../../schema/quic/retry-token.ts'
import { Settings } from '../../../../schema/quic/settings.ts'
import {
  isSideMessage,
  parseSideMessage,
  PROBE,
  SIDE_HEADER_BYTES,
  writeSideMessage,
} from '../../../../schema/quic/side-channel.ts'
import { STATUS } from '../../../../schema/wire/status.ts'

t.test('addresses are parsed, and written as they were', async (t) => {
  for (const text of ['127.0.0.1:4433', '[::1]:4433', 'metadata.example:1', '[fe80::1]:65535']) {
    t.equal(formatAddress(parseAddress(text)), text)
  }
  for (const text of [
    '',
    'host',
    'host:',
    ':1',
    '::1:4433',
    'host:65536',
    'a b:1',
    '[::1]',
    'h:-1',
  ]) {
    t.throws(() => parseAddress(text), { code: 'invalidArgument' }, text)
  }
})

t.test('a retry token is good for its address and its time only', async (t) => {
  const tokens = new RetryTokens(10_000)
  const address = { host: '192.0.2.1', port: 5_000 }
  const id = Buffer.from('0011223344556677', 'hex')
  const token = tokens.issue(id, address, 1_000_000)
  t.same(tokens.verify(token, address, 1_000_000), id)
  t.same(tokens.verify(token, address, 1_010_000), id)
  t.equal(tokens.verify(token, address, 1_010_001), undefined, 'late')
  t.equal(tokens.verify(token, { ...address, port: 5_001 }, 1_000_000), undefined, 'another port')
  t.equal(tokens.verify(token, { ...address, host: '192.0.2.2' }, 1_000_000), undefined)
  t.equal(new RetryTokens(10_000).verify(token, address, 1_000_000), undefined, 'another listener')
})

t.test('no flipped bit of a token goes unnoticed, and no garbage passes', async (t) => {
  const tokens = new RetryTokens(10_000)
  const address = { host: '::1', port: 1 }
  const token = tokens.issue(Buffer.alloc(20, 7), address, 0)
  for (let bit = 0; bit < token.length * 8; bit++) {
    const damaged = Buffer.from(token)
    damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    t.equal(tokens.verify(damaged, address, 0), undefined, `bit ${bit}`)
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      return tokens.verify(bytes, address, 0) === undefined
    }),
  )
})

t.test('a lone datagram is acknowledged at once, a run of them together', async (t) => {
  const acks = new AckPolicy()
  acks.received()
  t.equal(acks.mayWait(), true, 'the turn that brought it looks once more')
  t.equal(acks.mayWait(), false, 'nothing new came: send')
  acks.sent()
  for (let n = 0; n < 3; n++) {
    acks.received()
    t.equal(acks.mayWait(), true)
  }
  acks.received()
  t.equal(acks.mayWait(), false, 'not for ever')
  acks.sent()
  for (let n = 0; n < 65; n++) acks.received()
  t.equal(acks.mayWait(), false, 'nor for too many')
})

t.test('a peer is given up after a hint, a question and another hint', async (t) => {
  const rtt = (): number => 1
  const alive = new Liveness(5_000, rtt)
  alive.heard(0)
  t.equal(alive.ask(4_999), 'none')
  t.equal(alive.ask(5_000), 'ask', 'a client asks after a silence')
  alive.heard(5_001)
  t.equal(alive.hint(6_000), false)
  t.equal(alive.hint(6_001), false, 'a second hint before it was asked proves nothing')
  t.equal(alive.ask(6_020), 'ask')
  t.equal(alive.hint(6_030), true)
  alive.heard(6_040)
  t.equal(alive.hint(6_050), false, 'a word from it clears the suspicion')
  const server = new Liveness(Infinity, rtt)
  server.heard(0)
  t.equal(server.askAtMs, Infinity, 'a server leaves keeping alive to its clients')
})

t.test('a peer that is silent while requests wait is asked soon, and given up', async (t) => {
  const near = (): number => 20
  for (const peer of [new Liveness(5_000, near), new Liveness(Infinity, near)]) {
    peer.heard(0)
    peer.busy(true, 300)
    t.equal(peer.ask(1_299), 'none')
    t.equal(peer.ask(1_300), 'ask', 'a second after somebody began to wait')
    t.equal(peer.ask(2_299), 'none')
    for (const atMs of [2_300, 3_300, 4_300]) t.equal(peer.ask(atMs), 'ask')
    t.equal(peer.ask(5_300), 'gone')
    peer.heard(5_400)
    t.equal(peer.ask(6_400), 'ask', 'a word from it begins anew')
    t.equal(peer.askAtMs, 7_400)
    peer.busy(false, 6_500)
    t.ok(peer.askAtMs > 11_000, 'nobody waits')
    peer.busy(true, 6_600)
    t.equal(peer.ask(7_400), 'ask', 'who waits again and again has waited all the time')
    for (const atMs of [8_400, 9_400]) t.equal(peer.ask(atMs), 'ask')
    t.equal(peer.ask(10_400), 'gone')
  }
  const far = new Liveness(5_000, () => 800)
  far.heard(0)
  far.busy(true, 0)
  t.equal(far.ask(1_000), 'ask')
  t.equal(far.askAtMs, 3_400, 'an answer from far away takes its time')
})

t.test('messages beside QUIC survive the wire, and QUIC is never taken for one', async (t) => {
  const out = Buffer.alloc(100, 0xff)
  writeSideMessage(out, Buffer.from('0102030405060708', 'hex'), {
    kind: PROBE,
    nonce: 7,
    size: 100,
  })
  t.equal(isSideMessage(out), true)
  t.same(parseSideMessage(out), { kind: PROBE, nonce: 7, size: 100 })
  t.equal(out.subarray(1, 9).toString('hex'), '0102030405060708')
  t.ok(
    out.subarray(SIDE_HEADER_BYTES).every((byte) => byte === 0),
    'padding tells nothing',
  )
  t.equal(parseSideMessage(out.subarray(0, SIDE_HEADER_BYTES - 1)), undefined)
  for (const first of [0x40, 0x7f, 0xc0, 0xff]) t.equal(isSideMessage(Buffer.of(first)), false)
})

t.test('loopback takes the largest datagram, other ways what their interface does', async (t) => {
  t.equal(interfaceDatagramBytes('127.0.0.1'), 16_383)
  t.equal(interfaceDatagramBytes('::1'), 16_383)
  t.equal(isThisMachine('127.9.9.9'), true)
  const elsewhere = interfaceDatagramBytes('198.51.100.1')
  t.ok(elsewhere >= 1_200 && elsewhere <= 16_383)
  t.equal(isThisMachine('198.51.100.1'), false)
})

t.test('settings out of range are refused by name', async (t) => {
  for (const datagramBytes of [0, 1_199, 16_384, Number.NaN]) {
    const settings = (): Settings => new Settings({ datagramBytes })
    t.throws(settings, { code: 'invalidArgument', message: /datagramBytes/u })
  }
})

const alert = (description: number): { isApp: boolean; errorCode: number; reason: Uint8Array } => ({
  isApp: false,
  errorCode: 0x100 + description,
  reason: new Uint8Array(0),
})
const closedWith = (errorCode: number, reason = ''): EndOfConnection['peerError'] => ({
  isApp: true,
  errorCode,
  reason: Buffer.from(reason),
})
const end: EndOfConnection = {
  peer: 'metadata.dfs at 192.0.2.1:4433',
  role: 'client',
  established: true,
  timedOut: false,
  localError: null,
  peerError: null,
}
const ends = [
  { why: 'unknown authority', at: { ...end, localError: alert(48) }, code: 'serverUntrusted' },
  { why: 'wrong name', at: { ...end, localError: alert(42) }, code: 'serverUntrusted' },
  { why: 'no common protocol', at: { ...end, peerError: alert(120) }, code: 'versionMismatch' },
  { why: 'our certificate refused', at: { ...end, peerError: alert(48) }, code: 'forbidden' },
  { why: 'silence', at: { ...end, timedOut: true }, code: 'connectionLost' },
  { why: 'nobody', at: { ...end, timedOut: true, established: false }, code: 'connectionRefused' },
  { why: 'a regular end', at: { ...end, peerError: closedWith(0) }, code: 'connectionLost' },
  {
    why: 'shut down',
    at: { ...end, peerError: closedWith(STATUS.shuttingDown.wire) },
    code: 'shuttingDown',
  },
  {
    why: 'turned away',
    at: { ...end, peerError: { ...alert(0), errorCode: 2 } },
    code: 'connectionRefused',
  },
  {
    why: 'broken protocol',
    at: { ...end, localError: { ...alert(0), errorCode: 10 } },
    code: 'connectionLost',
  },
] as const

for (const { why, at, code } of ends) {
  t.test(`the end of a connection is explained: ${why}`, async (t) => {
    const error = describeEnd(at)
    t.equal(error.code, code)
    t.match(error.message, /192\.0\.2\.1:4433/u, 'and names the peer')
  })
}
