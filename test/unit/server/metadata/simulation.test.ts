/**
 * The metadata operations in simulation: several sessions of two users at once, on a store in memory
 * that is killed at random moments and opened again. Everything answered is there, nothing that was
 * not asked for is, and what is kept twice agrees. `SIMULATION_SEED` and `SIMULATION_ROUNDS` repeat a
 * run or make it longer.
 */
import t from 'tap'
import { DfsError } from '../../../../schema/wire/status.ts'
import { link } from '../../../../server/metadata/operations/link.ts'
import { list } from '../../../../server/metadata/operations/list.ts'
import { rename } from '../../../../server/metadata/operations/rename.ts'
import { unlink } from '../../../../server/metadata/operations/unlink.ts'
import { SESSION_GRACE_MS } from '../../../../server/metadata/sessions.ts'
import { MemoryDisk } from '../../../support/memory-store.ts'
import { checkStore } from '../../../support/metadata-check.ts'
import {
  entry,
  NO_BYTES,
  TestMetadata,
  token,
  type TestSession,
  type TestUser,
} from '../../../support/metadata.ts'
import { seeded } from '../../../support/seeded.ts'

const SEED = Number(process.env['SIMULATION_SEED'] ?? Math.floor(Math.random() * 1e9))
const ROUNDS = Number(process.env['SIMULATION_ROUNDS'] ?? 12)
/** Operations asked for in a round, at most so many at once. */
const OPERATIONS = 60
const AT_ONCE = 8
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f']

/** What a user's root may hold: by name, the inodes that it may mean; 0 for none. */
type Possible = Map<string, Set<number>>

interface Actor {
  readonly user: TestUser
  readonly possible: Possible
  sessions: TestSession[]
}

/** Operations that change one root, each with what it makes of the names. */
class Simulation {
  readonly #random: (below: number) => number
  /** Set when the process was killed: answers come no more. */
  killed = false

  constructor(random: (below: number) => number) {
    this.#random = random
  }

  #pick<T>(all: readonly T[]): T {
    const chosen = all[this.#random(all.length)]
    if (chosen === undefined) throw new Error('nothing to pick')
    return chosen
  }

  /**
   * Runs one operation. Names that it touches are locked in `busy` by the caller's choice of names, so
   * that what they mean afterwards is known.
   */
  async step(actor: Actor, busy: Set<string>): Promise<void> {
    const free = NAMES.filter((name) => !busy.has(`${actor.user.user} ${name}`))
    if (free.length < 2) return
    const from = this.#pick(free)
    const to = this.#pick(free.filter((name) => name !== from))
    const session = this.#pick(actor.sessions)
    const locked = [`${actor.user.user} ${from}`, `${actor.user.user} ${to}`]
    for (const name of locked) busy.add(name)
    try {
      await this.#operate(actor, session, from, to)
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
    } finally {
      if (!this.killed) for (const name of locked) busy.delete(name)
    }
  }

  async #operate(actor: Actor, session: TestSession, from: string, to: string): Promise<void> {
    const { root } = actor.user
    const meaning = (name: string): Set<number> => actor.possible.get(name) ?? new Set([0])
    const [inode = 0] = meaning(from)
    const others = new Set(meaning(to))
    const what = inode === 0 ? 'create' : this.#pick(['unlink', 'rename', 'link'])
    // Until it is answered, both outcomes are possible.
    if (what === 'create') {
      actor.possible.set(from, new Set([0, -1]))
      const made = await session.make(root, from)
      actor.possible.set(from, new Set([made]))
    } else if (what === 'unlink') {
      actor.possible.set(from, new Set([inode, 0]))
      await session.mutate(unlink, { parent: root, token: token(from), directory: false })
      actor.possible.set(from, new Set([0]))
    } else if (what === 'rename') {
      actor.possible.set(from, new Set([inode, 0]))
      actor.possible.set(to, new Set([...others, inode]))
      await session.mutate(rename, {
        fromParent: root,
        fromToken: token(from),
        toParent: root,
        toToken: token(to),
        entry: entry(to),
        noReplace: false,
        inode,
      })
      // Two names of one inode: nothing happens.
      actor.possible.set(from, new Set([others.has(inode) ? inode : 0]))
      actor.possible.set(to, new Set([inode]))
    } else {
      const before = new Set(others)
      actor.possible.set(to, new Set([...others, inode]))
      try {
        await session.mutate(link, { inode, parent: root, token: token(to), entry: entry(to) })
        actor.possible.set(to, new Set([inode]))
      } catch (error) {
        actor.possible.set(to, before)
        throw error
      }
    }
  }
}

/** What is not as it may be; afterwards every name means one thing. */
async function compare(actor: Actor): Promise<string[]> {
  const [session] = actor.sessions
  if (session === undefined) return ['no session']
  const query = { directory: actor.user.root, after: NO_BYTES, limit: 100 }
  const { entries } = await session.query(list, query)
  const wrong: string[] = []
  for (const name of NAMES) {
    const found = entries.find((listed) => Buffer.from(listed.token).equals(token(name)))
    const inode = found?.inode?.inode ?? 0
    const may = actor.possible.get(name) ?? new Set([0])
    // A create that was not answered made an inode that nobody was told of.
    if (!may.has(inode) && !(inode > 0 && may.has(-1))) {
      wrong.push(`${name} is ${inode}, may be ${[...may].join(' or ')}`)
    }
    actor.possible.set(name, new Set([inode]))
  }
  return wrong
}

t.setTimeout(120_000)

t.test(`seed ${SEED}: kills at any moment lose nothing answered and halve nothing`, async (t) => {
  const random = seeded(SEED)
  const disk = new MemoryDisk()
  const actors: Actor[] = []
  let kills = 0
  for (let round = 0; round < ROUNDS; round++) {
    const metadata = await TestMetadata.on(disk.open())
    if (round === 0) {
      await metadata.addServers()
      for (const name of ['ann', 'bob']) {
        actors.push({ user: await metadata.addUser(name), possible: new Map(), sessions: [] })
      }
    }
    for (const actor of actors) {
      actor.sessions = [await metadata.session(actor.user), await metadata.session(actor.user)]
      t.same(await compare(actor), [], `round ${round}: ${actor.user.name}`)
    }
    if (round % 8 === 7) {
      // Sessions of killed processes end, with what they held.
      metadata.time.ms += 2 * SESSION_GRACE_MS
      await metadata.services.sessions.sweep()
    }
    const simulation = new Simulation(random)
    const busy = new Set<string>()
    const killAt = random(4) === 0 ? Infinity : random(OPERATIONS)
    const running = new Set<Promise<void>>()
    for (let i = 0; i < OPERATIONS && i < killAt; i++) {
      const actor = actors[random(actors.length)]
      if (actor === undefined) break
      const step = simulation.step(actor, busy).finally(() => running.delete(step))
      running.add(step)
      if (running.size >= AT_ONCE || random(3) === 0) await Promise.race(running)
    }
    if (killAt < OPERATIONS) {
      kills++
      simulation.killed = true
      // Some turns into what is under way.
      for (let turn = random(6); turn > 0; turn--) await new Promise((done) => setImmediate(done))
      disk.kill()
    } else {
      await Promise.all(running)
      metadata.time.ms += 2 * SESSION_GRACE_MS
      for (const actor of actors) t.same(await compare(actor), [], `round ${round}, in the end`)
      await metadata.close()
    }
    const store = disk.open()
    t.same(await checkStore(store), [], `round ${round}: what is kept twice agrees`)
    await store.close()
  }
  t.ok(kills > 0 || ROUNDS < 12, `${kills} kills`)
})
