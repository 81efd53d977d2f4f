/** States of a tree: one history orders them, a fork shows, and nobody without the key makes one. */
import fc from 'fast-check'
import t from 'tap'
import { InodeKey } from '../../../../mount/crypto/inode-key.ts'
import {
  genesis,
  openState,
  orderOf,
  successor,
  type TreeState,
} from '../../../../mount/freshness/tree-state.ts'

const key = InodeKey.generate()
const root = Buffer.alloc(32, 9)

/** The states that devices make one after the other. */
function history(from: TreeState, devices: readonly number[]): TreeState[] {
  const states = [from]
  for (const device of devices) {
    states.push(successor(key, states.at(-1) ?? from, { device, root }))
  }
  return states
}

const devices = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 12 })

t.test('in one history the later state is newer, and reads as it was written', async () => {
  fc.assert(
    fc.property(devices, (turns) => {
      const states = history(genesis(key, { device: 1 }), turns)
      return states.every((state, at) => {
        const read = openState(key, state.bytes)
        const fits = states.every((other, then) => {
          const expected = at === then ? 'same' : at < then ? 'older' : 'newer'
          return orderOf(read, other) === expected
        })
        return fits && read.counter === at + 1 && read.root.equals(state.root)
      })
    }),
  )
})

t.test('two devices that went on without each other are told apart, for ever', async () => {
  fc.assert(
    fc.property(devices, devices, devices, (before, left, right) => {
      const common = history(genesis(key, { device: 1 }), before)
      const base = common.at(-1) ?? genesis(key, { device: 1 })
      const [a] = history(base, [11, ...left]).slice(-1)
      const [b] = history(base, [12, ...right]).slice(-1)
      if (a === undefined || b === undefined) return false
      return orderOf(a, b) === 'apart' && orderOf(b, a) === 'apart'
    }),
  )
})

t.test('a new beginning is apart from every state before it', async (t) => {
  const old = history(genesis(key, { device: 1 }), [1, 2, 3])
  const anew = genesis(key, { device: 1, counter: 9, root })
  for (const state of old) t.equal(orderOf(anew, state), 'apart')
  t.equal(anew.counter, 9)
})

t.test('no flipped bit and no other key passes', async (t) => {
  const { bytes } = successor(key, genesis(key, { device: 7 }), { device: 8, root })
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const forged = bytes.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte))
    t.throws(() => openState(key, forged), { code: 'notAuthentic' }, `bit ${bit}`)
  }
  t.throws(() => openState(InodeKey.generate(), bytes), { code: 'notAuthentic' })
  for (const length of [0, 1, 40, bytes.length - 1]) {
    t.throws(() => openState(key, bytes.subarray(0, length)), { code: 'notAuthentic' })
  }
})

t.test('there is room for a thousand devices, and a bound', async (t) => {
  let state = genesis(key, { device: 1 })
  for (let device = 2; device <= 1_000; device++) state = successor(key, state, { device, root })
  t.equal(openState(key, state.bytes).rows.size, 1_000)
  const more = (): void => {
    for (let device = 2_000; ; device++) state = successor(key, state, { device, root })
  }
  t.throws(more, { code: 'tooManyRequests' })
})
