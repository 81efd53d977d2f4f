/**
 * Holds: the server hears of each release once, in batches, and never of one that an announcement
 * has taken into account already.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Holds, type HoldsServer } from '../../../../mount/client/holds.ts'
import { DfsError } from '../../../../schema/wire/status.ts'
import { keepingLog } from '../../../support/chunkservers.ts'
import { silent } from '../../../support/transport.ts'
import type { Log } from '../../../../schema/rpc/api.ts'

function holdsOf(release: HoldsServer['release'], hold: HoldsServer['hold'], log: Log): Holds {
  return new Holds({ connected: true, release, hold }, log)
}

function collected(): { send: (inodes: number[]) => Promise<void>; sent: number[][] } {
  const sent: number[][] = []
  const send = async (inodes: number[]): Promise<void> => void sent.push(inodes)
  return { send, sent }
}

function collecting(): { holds: Holds; sent: number[][] } {
  const sent: number[][] = []
  const holds = holdsOf(
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
  const holds = holdsOf(
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
  const holds = holdsOf(
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
  const holds = holdsOf(
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
  const holds = holdsOf(send, async (inode) => told.push(inode), silent)
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
  const holds = holdsOf(send, tell, silent)
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
  const holds = holdsOf(
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
  const holds = holdsOf(send, async (inode) => told.push(inode), silent)
  holds.addUntold(1)
  t.same(holds.announce(), [1])
  await holds.tell()
  holds.release(1)
  await sleep(60)
  t.same([told, sent], [[], [[1]]])
})

t.test('what the server could not be told is told again, until it knows', async (t) => {
  const told: number[] = []
  let failures = 2
  const hold = async (inode: number): Promise<void> => {
    if (failures-- > 0) throw new DfsError('connectionLost', 'gone')
    told.push(inode)
  }
  const holds = holdsOf(async () => undefined, hold, silent)
  holds.addUntold(1)
  await holds.tell(1)
  t.same(told, [1])
})

t.test('who relies on the server to know it learns that it does not', async (t) => {
  const told: number[] = []
  const { send, sent } = collected()
  let refusing = true
  const hold = async (inode: number): Promise<void> => {
    if (refusing) throw new DfsError('forbidden', 'refused')
    told.push(inode)
  }
  const holds = holdsOf(send, hold, silent)
  holds.addUntold(1)
  await t.rejects(holds.tell(1), { code: 'forbidden' })
  await t.rejects(holds.tell(), { code: 'forbidden' })
  refusing = false
  await holds.tell(1)
  t.same(told, [1])
  holds.release(1)
  await sleep(60)
  t.same(sent, [[1]])
})

t.test('what is held while a connection is introduced is told when it is there', async (t) => {
  const told: number[] = []
  const sent: number[][] = []
  let connected = true
  const server = {
    get connected() {
      return connected
    },
    release: async (inodes: number[]) => sent.push(inodes),
    hold: async (inode: number) => {
      if (!connected) throw new DfsError('connectionLost', 'no connection')
      told.push(inode)
    },
  }
  const holds = new Holds(server, silent)
  holds.add(1)
  connected = false
  t.same(holds.announce(), [1])
  holds.addUntold(2)
  const telling = holds.tell(2)
  holds.release(1)
  await sleep(60)
  t.same([told, sent], [[], []])
  connected = true
  await telling
  await sleep(60)
  t.same([told, sent], [[2], [[1]]], 'the end of the other, which was announced, too')
})

t.test(
  'an announcement stands for what was being told, and for what ended meanwhile',
  async (t) => {
    const { send, sent } = collected()
    const lost: (() => void)[] = []
    let told = 0
    const hold = async (): Promise<void> => {
      told++
      await new Promise<void>((_, reject) => {
        lost.push(() => reject(new DfsError('connectionLost', 'gone')))
      })
    }
    const holds = holdsOf(send, hold, silent)
    holds.add(1)
    holds.addUntold(1)
    const telling = holds.tell(1)
    await sleep(1)
    holds.release(1)
    t.same(holds.announce(), [1])
    for (const lose of lost) lose()
    await telling
    await sleep(100)
    t.same([told, sent], [1, []], 'neither told once more nor released')
  },
)
