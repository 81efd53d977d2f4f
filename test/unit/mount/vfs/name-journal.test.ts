/**
 * The journal of names: everything in order, together where it can be, and nothing lost in silence.
 */
import t from 'tap'
import { LeaseTerm } from '../../../../mount/client/lease.ts'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import { InodeVerifier } from '../../../../mount/vfs/inode-verifier.ts'
import { LeasedTree } from '../../../../mount/vfs/leased-tree.ts'
import { NameJournal, type HeldBack } from '../../../../mount/vfs/name-journal.ts'
import type { ChangeNamesRequest, NameChange } from '../../../../schema/generated/metadata.ts'
import { limits } from '../../../../schema/wire/limits.ts'
import { DfsError } from '../../../../schema/wire/status.ts'
import { MemoryLog } from '../../../support/fuse-mount.ts'
import { inodeWith, sealedAttributes } from '../../../support/inodes.ts'

const key = InodeKey.generate()
const PARENT = 7

/** A server that remembers what it was sent, and answers when it is told to. */
class Server {
  readonly batches: NameChange[][] = []
  readonly seen: string[] = []
  /** The removal of this inode is refused. */
  refuses = 0
  gone: DfsError | undefined
  /** In the directory, before anything was removed. */
  entries = 1_000
  #answers: (() => void)[] | undefined

  async mutate(_method: unknown, { changes }: Pick<ChangeNamesRequest, 'changes'>) {
    this.batches.push(changes.map((change) => ({ ...change })))
    if (this.#answers !== undefined) await new Promise<void>((done) => this.#answers?.push(done))
    if (this.gone !== undefined) throw this.gone
    if (changes.some(({ unlink }) => unlink?.inode === this.refuses)) {
      throw new DfsError('versionConflict', 'refused')
    }
    for (const { unlink } of changes) this.seen.push(String(unlink?.inode))
    const directory = inodeWith(PARENT, sealedAttributes(key, { kind: 2 }))
    return { inodes: [{ ...directory, entryCount: this.entries - numbers(this).length }] }
  }

  async tellHolds(inode: number): Promise<void> {
    this.seen.push(`held ${inode}`)
  }

  changed(): void {}

  removed(inode: number): void {
    this.seen.push(`removed ${inode}`)
  }

  holdAnswers(): void {
    this.#answers = []
  }

  answer(): void {
    for (const done of this.#answers?.splice(0) ?? []) done()
  }
}

function start() {
  const term = new LeaseTerm(3)
  const leased = new LeasedTree({ term, fresh: term })
  const log = new MemoryLog()
  const server = new Server()
  const session = server as unknown as ConstructorParameters<typeof NameJournal>[0]['session']
  const givenUp = { count: 0 }
  const parts = { session, leased, verifier: new InodeVerifier(log), givenUp, log }
  const journal = new NameJournal(parts)
  const append = (inode: number, more: Partial<HeldBack> = {}): void => {
    const unlink = { parent: PARENT, token: Buffer.alloc(32), directory: false, inode }
    const held = { change: { unlink }, term, path: `/${inode}`, keys: [[PARENT, key] as const] }
    journal.append({ ...held, ...more })
  }
  return { journal, append, server, log, term, leased, givenUp }
}

const numbers = (server: Server): string[] => server.seen.filter((line) => /^\d/.test(line))

t.test('what comes together travels together, in order', async (t) => {
  const { journal, append, server } = start()
  t.ok(journal.idle)
  t.equal(journal.settle(), undefined)
  const count = limits.nameChangesMax + 10
  for (let inode = 1; inode <= count; inode++) append(inode)
  t.notOk(journal.idle)
  await journal.settle()
  t.ok(journal.idle)
  t.same(
    server.batches.map(({ length }) => length),
    [limits.nameChangesMax, 10],
  )
  t.same(
    numbers(server),
    Array.from({ length: count }, (_, at) => String(at + 1)),
  )
  t.ok(server.seen.includes('removed 1'), 'this device remembers that it was removed')
  t.ok(server.seen.indexOf('held 1') < server.seen.indexOf('1'), 'who has it open keeps it')
})

t.test('an answer to the first of many does not undo what is known of the others', async (t) => {
  const { journal, append, server, leased } = start()
  const directory = inodeWith(PARENT, sealedAttributes(key, { kind: 2 }))
  const count = 2 * limits.nameChangesMax + 10
  server.entries = count
  for (let inode = 1; inode <= count; inode++) {
    leased.put({ ...directory, entryCount: count - inode })
    append(inode)
  }
  server.holdAnswers()
  const settled = journal.settle()
  for (let batch = 1; batch <= 3; batch++) {
    while (server.batches.length < batch) await new Promise(setImmediate)
    t.equal(leased.inode(PARENT)?.entryCount, 0, `before answer ${batch}`)
    server.answer()
  }
  await settled
  t.equal(leased.inode(PARENT)?.entryCount, 0)
})

t.test('births with content travel together as far as one request holds it', async (t) => {
  const { journal, append, server } = start()
  const content = limits.sealedPatchBytesMax
  for (let inode = 1; inode <= limits.nameChangesMax; inode++) {
    const birth = {
      inode,
      parent: PARENT,
      token: Buffer.alloc(32),
      entry: Buffer.alloc(100),
      attributes: sealedAttributes(key, {}),
      inline: Buffer.alloc(0),
      patch: Buffer.alloc(content),
      hold: false,
      atime: 0n,
    }
    append(inode, { change: { birth } })
  }
  await journal.settle()
  const sizes = server.batches.map(({ length }) => length)
  t.equal(
    sizes.reduce((sum, size) => sum + size),
    limits.nameChangesMax,
  )
  t.ok(sizes.length > 1 && sizes.every((size) => size * content < limits.messageBytesMax))
})

t.test(
  'settling waits for what was appended before it, and not for what comes after',
  async (t) => {
    const { journal, append, server } = start()
    server.holdAnswers()
    append(1)
    const settled = journal.settle()
    await new Promise(setImmediate)
    append(2)
    let over = false
    void settled?.then(() => (over = true))
    await new Promise(setImmediate)
    t.notOk(over)
    server.answer()
    await settled
    t.notOk(journal.idle)
    const rest = journal.settle()
    while (server.batches.length < 2) await new Promise(setImmediate)
    server.answer()
    await rest
    t.same(
      server.batches.map(({ length }) => length),
      [1, 1],
    )
  },
)

t.test(
  'each names the lease under which it was answered, as that is when it is sent',
  async (t) => {
    const { journal, append, server, term } = start()
    append(1)
    await journal.settle()
    append(2)
    term.state = 'ended'
    await journal.settle()
    t.same(
      server.batches.map(([change]) => change?.lease),
      [3, 0],
    )
  },
)

t.test('one that is refused does not take others with it, and is reported once', async (t) => {
  const { journal, append, server, log, leased, givenUp } = start()
  leased.learnInode(leased.ask(), inodeWith(50, sealedAttributes(key)))
  server.refuses = 2
  for (const inode of [1, 2, 3]) append(inode)
  await journal.settle()
  t.same(numbers(server), ['1', '3'])
  t.equal(givenUp.count, 1)
  t.match(log.lines, [{ level: 'error', fields: { path: '/2', code: 'versionConflict' } }])
  t.equal(leased.inode(50), undefined, 'nothing counts as known any more')
  t.throws(() => journal.report(), { code: 'versionConflict', message: /\/2/ })
  t.doesNotThrow(() => journal.report())
})

t.test('a failure that somebody waits for is his alone', async (t) => {
  const { journal, append, server, log } = start()
  server.refuses = 2
  const failed = new Promise((resolve) => append(2, { failed: resolve }))
  t.match(await failed, { code: 'versionConflict' })
  t.doesNotThrow(() => journal.report())
  t.same(log.lines, [])
})

t.test('without a server everything is given up, and it goes on when there is one', async (t) => {
  const { journal, append, server, log } = start()
  server.gone = new DfsError('connectionLost', 'nobody there')
  append(1)
  append(2)
  await journal.settle()
  t.throws(() => journal.report(), { code: 'connectionLost' })
  t.equal(server.batches.length, 1, 'not one by one')
  await new Promise(setImmediate)
  t.match(
    log.lines,
    [{ fields: { path: '/1' } }, { fields: { changes: 1 } }],
    'two lines for any number',
  )
  server.gone = undefined
  append(3)
  await journal.settle()
  t.same(numbers(server), ['3'])
})

t.test('what waits is bounded: who makes more waits for room', async (t) => {
  const { journal, append, server } = start()
  server.holdAnswers()
  let made = 0
  while (journal.room() === undefined) append(++made)
  t.ok(made >= 512 && made <= 4_096, `${made} may wait`)
  const room = journal.room()
  const free = { yet: false }
  void room?.then(() => (free.yet = true))
  while (!free.yet) {
    server.answer()
    await new Promise(setImmediate)
  }
  t.equal(journal.room(), undefined)
  t.notOk(journal.idle, 'there is room before all is sent')
  const settled = journal.settle()
  while (!journal.idle) {
    server.answer()
    await new Promise(setImmediate)
  }
  await settled
  t.equal(numbers(server).length, made)
})
