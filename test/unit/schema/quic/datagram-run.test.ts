/**
 * Runs of datagrams: what is made in them is sent, whole, in order and to whom it was meant, whatever the
 * kernel refuses; and what it refuses one by one is told.
 */
import fc from 'fast-check'
import t from 'tap'
import { DatagramRun, sendRun } from '../../../../schema/quic/datagram-run.ts'
import { errno } from '../../../../schema/system/native.ts'

const to = { host: '127.0.0.1', port: 4_433 }

/** What a kernel has taken, as datagrams. */
class Kernel {
  readonly taken: string[] = []
  calls = 0
  refuse: (count: number, first: string) => number = () => 0

  readonly send = (from: Buffer, bytes: number, segmentBytes: number): number => {
    this.calls++
    const all = Buffer.from(from.buffer, from.byteOffset, bytes)
    const datagrams: string[] = []
    for (let at = 0; at < bytes; at += segmentBytes) {
      datagrams.push(all.toString('latin1', at, Math.min(at + segmentBytes, bytes)))
    }
    const error = this.refuse(datagrams.length, datagrams[0] ?? '')
    if (error === 0) this.taken.push(...datagrams)
    return error
  }
}

const never = (error: number): void => {
  throw new Error(`${error} was told`)
}

function add(run: DatagramRun, datagramBytes: number, text: string): void {
  run.next(datagramBytes).write(text, 'latin1')
  run.add(text.length, to)
}

/** Adds whole datagrams while there is room; how many there are then. */
function fill(run: DatagramRun, datagramBytes: number): number {
  while (!run.full) add(run, datagramBytes, 'x'.repeat(datagramBytes))
  return run.count
}

t.test('what is added is sent, in order, in few calls', async () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          datagramBytes: fc.constantFrom(30, 1_200, 1_350, 9_000, 16_383),
          lengths: fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { maxLength: 80 }),
        }),
      ),
      (bursts) => {
        const run = new DatagramRun()
        const kernel = new Kernel()
        const made: string[] = []
        for (const { datagramBytes, lengths } of bursts) {
          for (const share of lengths) {
            if (run.full) sendRun(run, kernel.send, never)
            const bytes = share > 0.5 ? datagramBytes : Math.ceil(share * datagramBytes)
            const text = String(made.length % 10).repeat(bytes)
            made.push(text)
            add(run, datagramBytes, text)
          }
          sendRun(run, kernel.send, never)
        }
        return (
          run.count === 0 &&
          kernel.taken.length === made.length &&
          kernel.taken.every((text, index) => text === made[index])
        )
      },
    ),
  )
})

t.test('datagrams of one size travel together, up to what one call takes', async (t) => {
  const run = new DatagramRun()
  const kernel = new Kernel()
  t.equal(fill(run, 1_350), 48)
  t.ok(sendRun(run, kernel.send, never))
  t.equal(kernel.calls, 1)
  t.equal(fill(run, 30), 64)
  t.ok(sendRun(run, kernel.send, never))
  add(run, 1_350, 'x'.repeat(1_350))
  add(run, 1_350, 'short')
  t.ok(run.full, 'a shorter one is the last')
  t.throws(() => run.next(9_000), RangeError)
})

t.test('what the kernel has no room for waits', async (t) => {
  const run = new DatagramRun()
  const kernel = new Kernel()
  for (const text of ['aaaa', 'bbbb', 'cc']) add(run, 4, text)
  kernel.refuse = () => errno.EAGAIN
  t.notOk(sendRun(run, kernel.send, never))
  t.same(kernel.taken, [])
  kernel.refuse = (count) =>
    count > 1 ? errno.EINVAL : kernel.taken.length === 1 ? errno.EAGAIN : 0
  t.notOk(sendRun(run, kernel.send, never))
  t.same(kernel.taken, ['aaaa'])
  kernel.refuse = () => 0
  t.ok(sendRun(run, kernel.send, never))
  t.same(kernel.taken, ['aaaa', 'bbbb', 'cc'])
})

t.test('what cannot be sent together is sent one by one', async (t) => {
  const run = new DatagramRun()
  const kernel = new Kernel()
  const told: number[] = []
  for (const text of ['aaaa', 'bbbb', 'cc']) add(run, 4, text)
  kernel.refuse = (count, first) => {
    if (count > 1) return errno.EIO
    return first === 'bbbb' ? errno.EMSGSIZE : 0
  }
  t.ok(sendRun(run, kernel.send, (error) => told.push(error)))
  t.same(kernel.taken, ['aaaa', 'cc'])
  t.same(told, [errno.EMSGSIZE], 'one that is refused by itself is lost, as on the way')
})
