/**
 * A datagram that was lost is made from the others and their exclusive or; of forged messages come at
 * most datagrams that quiche then refuses.
 */
import * as fc from 'fast-check'
import t from 'tap'
import {
  COVERED_BYTES_MAX,
  COVERED_MAX,
  COVERED_MIN,
  PARITY_HEADER_BYTES,
  ParityRepair,
  ParitySum,
} from '../../../../schema/quic/parity.ts'
import { isSideMessage } from '../../../../schema/quic/side-channel.ts'

const ID = Buffer.alloc(8, 7)

const datagram = fc
  .uint8Array({ minLength: 20, maxLength: COVERED_BYTES_MAX })
  .map((bytes) => Buffer.from(bytes))
const group = fc.uniqueArray(datagram, {
  minLength: COVERED_MIN,
  maxLength: COVERED_MAX,
  selector: (bytes) => bytes.readUInt32LE(bytes.length - 4),
})

/** The message that covers the datagrams. */
function cover(sum: ParitySum, datagrams: readonly Buffer[]): Buffer {
  const buffer = Buffer.alloc(COVERED_BYTES_MAX)
  for (const bytes of datagrams) {
    // As from a pool: what of the buffer follows the datagram is of another one.
    buffer.fill(0xaa)
    buffer.set(bytes)
    sum.add(buffer, bytes.length)
  }
  const out = Buffer.alloc(COVERED_BYTES_MAX + PARITY_HEADER_BYTES)
  return out.subarray(0, sum.take(out, ID))
}

t.test(
  'one lost datagram is made good, whichever and in whatever order the rest came',
  async (t) => {
    const sum = new ParitySum()
    fc.assert(
      fc.property(group, fc.nat(), fc.boolean(), (datagrams, pick, reversed) => {
        const message = cover(sum, datagrams)
        const longest = Math.max(...datagrams.map(({ length }) => length))
        if (message.length > longest + PARITY_HEADER_BYTES || !isSideMessage(message)) return false
        const repair = new ParityRepair()
        const lost = datagrams[pick % datagrams.length]
        const arrived = datagrams.filter((bytes) => bytes !== lost)
        if (reversed) arrived.reverse()
        for (const bytes of arrived) {
          const received = Buffer.from(bytes)
          repair.keep(received)
          // quiche decrypts it where it is.
          received.fill(0)
        }
        const repaired = repair.repair(message)
        // A second copy of the message has nothing left to repair.
        return lost?.equals(repaired ?? ID) === true && repair.repair(message) === undefined
      }),
    )
    t.equal(sum.count, 0)
  },
)

t.test('nothing is made when none or several are missing', async (t) => {
  fc.assert(
    fc.property(group, (datagrams) => {
      const message = cover(new ParitySum(), datagrams)
      const repair = new ParityRepair()
      for (const bytes of datagrams.slice(2)) repair.keep(bytes)
      if (repair.repair(message) !== undefined) return false
      for (const bytes of datagrams.slice(0, 2)) repair.keep(bytes)
      return repair.repair(message) === undefined
    }),
  )
  t.pass()
})

t.test('datagrams that are too large or too many are not covered', async (t) => {
  const sum = new ParitySum()
  sum.add(Buffer.alloc(COVERED_BYTES_MAX + 1), COVERED_BYTES_MAX + 1)
  t.equal(sum.count, 0)
  for (let n = 0; n < 2 * COVERED_MAX; n++) sum.add(Buffer.alloc(100, n), 100)
  t.equal(sum.count, COVERED_MAX)
  t.ok(sum.full)
})

t.test('what strangers make up does no harm', async (t) => {
  const repair = new ParityRepair()
  fc.assert(
    fc.property(datagram, fc.uint8Array({ maxLength: 2_000 }), (known, bytes) => {
      repair.keep(known)
      const made = repair.repair(Buffer.from(bytes))
      return made === undefined || made.length <= COVERED_BYTES_MAX
    }),
  )
  const [one, two] = [Buffer.alloc(100, 1), Buffer.alloc(100, 2)]
  const message = cover(new ParitySum(), [one, two])
  for (let end = 0; end < message.length; end++) repair.repair(message.subarray(0, end))
  t.pass()
})
