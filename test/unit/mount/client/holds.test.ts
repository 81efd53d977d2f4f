/**
 * Holds: the server hears of each release once, in batches, and never of one that an announcement
 * has taken into account already.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Holds } from '../../../../mount/client/holds.ts'
import { keepingLog } from '../../../support/chunkservers.ts'
import { silent } from '../../../support/transport.ts'

function collected(): { send: (inodes: number[]) => Promise<void>; sent: number[][] } {
  const sent: number[][] = []
  const send = async (inodes: number[]): Promise<void> => void sent.push(inodes)
  return { send, sent }
}

function collecting(): { holds: Holds; sent: number[][] } {
  const sent: number[][] = []
  const holds = new Holds(
    async (inodes) => sent.push(inodes),
    async () => undefined,
    silent,
  )
  return { holds, sent }
}

t.test('each hold is released once, together with others', async (t) => {
  const { holds, sent } = collecting()
  for (const inode of [1, 1, 2, 3]) holds.add(inode)
  for (const inode of [1, 2, 1]) holds.release(inode)
  t.same(sent, [], 'nobody waits for a release')
  await sleep(60)
  t.same(sent, [[1, 2, 1]])
  t.same(holds.announce(), [3])
})

t.test(
  'an announcement names an inode as often as it is held and stands for what was collected',
  async (t) => {
    const { holds, sent } = collecting()
    for (const inode of [5, 5, 6]) holds.add(inode)
    holds.release(6)
    t.same(holds.announce(), [5, 5])
    await sleep(60)
    t.same(sent, [], 'a release on top would undo a hold too many')
  },
)

t.test('a thousand releases do not wait for the timer', async (t) => {
  const { holds, sent } = collecting()
  for (let inode = 1; inode <= 1_000; inode++) holds.add(inode)
  for (let inode = 1; inode <= 1_000; inode++) holds.release(inode)
  t.equal(sent.length, 1)
  t.equal(sent[0]?.length, 1_000)
})

t.test('closing sends the rest and waits for its answer', async (t) => {
  let answered = false
  const holds = new Holds(
    async () => {
      await sleep(30)
      answered = true
    },
    async () => undefined,
    silent,
  )
  holds.add(1)
  holds.release(1)
  await holds.close()
  t.ok(answered)
})

t.test('a release that fails is logged, and closing goes on', async (t) => {
  const log = keepingLog()
  const holds = new Holds(
    async () => {
      throw new Error('lost')
    },
    async () => undefined,
    log,
  )
  holds.add(1)
  holds.release(1)
  await holds.close()
  t.match(log.lines, [{ fields: { inodes: 1 } }])
})

t.test('releasing what is not held is logged and sends nothing', async (t) => {
  const log = keepingLog()
  const holds = new Holds(
    async () => t.fail('sent'),
    async () => undefined,
    log,
  )
  holds.release(9)
  await holds.close()
  t.match(log.lines, [{ fields: { inode: 9 } }])
})

t.test('what is held only for a moment the server never hears of', async (t) => {
  const told: number[] = []
  const { send, sent } = collected()
  const holds = new Holds(send, async (inode) => told.push(inode), silent)
  holds.addUntold(1)
  holds.release(1)
  await holds.tell()
  await sleep(60)
  t.same([told, sent], [[], []])
})

t.test('the rest it hears of when told to, and of its end after that', async (t) => {
  const order: string[] = []
  const tell = async (inode: number): Promise<void> => {
    await sleep(80)
    order.push(`held ${inode}`)
  }
  const send = async (inodes: number[]): Promise<void> => {
    order.push(`released ${inodes.join(' ')}`)
  }
  const holds = new Holds(send, tell, silent)
  holds.addUntold(1)
  holds.addUntold(2)
  const telling = holds.tell(1)
  holds.release(1)
  await telling
  await sleep(60)
  t.same(order, ['held 1', 'released 1'], 'and not of 2')
  holds.addUntold(3)
  await holds.tell()
  t.same(order.slice(2).sort(), ['held 2', 'held 3'])
})

t.test('after a while the server hears of it without being told to', async (t) => {
  const told: number[] = []
  const holds = new Holds(
    async () => undefined,
    async (inode) => told.push(inode),
    silent,
  )
  holds.addUntold(1)
  await sleep(700)
  t.same(told, [1])
})

t.test('an announcement includes what the server was not told', async (t) => {
  const told: number[] = []
  const { send, sent } = collected()
  const holds = new Holds(send, async (inode) => told.push(inode), silent)
  holds.addUntold(1)
  t.same(holds.announce(), [1])
  await holds.tell()
  holds.release(1)
  await sleep(60)
  t.same([told, sent], [[], [[1]]])
})
