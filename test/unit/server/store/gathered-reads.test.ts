/**
 * How point reads are handed to the engine: together when many are asked for, apart when few are, each
 * answered once with its own value whatever becomes of the others.
 */
import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import { GatheredReads } from '../../../../server/store/gathered-reads.ts'

type Many = (error: Error | undefined, stored?: readonly (Buffer | undefined)[]) => void

/** An engine that answers when it is told to. */
class SlowEngine {
  readonly calls: { readonly keys: string[]; readonly answer: (error?: Error) => void }[] = []

  one(key: Buffer, answered: (error: Error | undefined, stored?: Buffer) => void): void {
    const answer = (error?: Error): void => answered(error, value(key))
    this.calls.push({ keys: [key.toString()], answer })
  }

  many(keys: readonly Buffer[], answered: Many): void {
    const answer = (error?: Error): void =>
      answered(error, error === undefined ? keys.map(value) : undefined)
    this.calls.push({ keys: keys.map(String), answer })
  }
}

/** Every key has its own value, but `none`. */
const value = (key: Buffer): Buffer | undefined =>
  key.toString() === 'none' ? undefined : Buffer.from(`value of ${key.toString()}`)

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `key ${i}`)

function ask(reads: GatheredReads, keys: readonly string[]): Promise<string | undefined>[] {
  return keys.map(
    async (key) =>
      new Promise((resolve, reject) => {
        reads.get(Buffer.from(key), (error, stored) =>
          error === undefined ? resolve(stored?.toString()) : reject(error),
        )
      }),
  )
}

t.test('a few reads are calls of their own, many go together', async (t) => {
  const engine = new SlowEngine()
  const reads = new GatheredReads(engine)
  const few = ask(reads, ['a', 'none', 'c'])
  await turn()
  t.strictSame(
    engine.calls.splice(0).map(({ keys, answer }) => (answer(), keys)),
    [['a'], ['none'], ['c']],
  )
  t.strictSame(await Promise.all(few), ['value of a', undefined, 'value of c'])
  const many = ask(reads, names(20))
  await turn()
  t.strictSame(
    engine.calls.map(({ keys }) => keys.length),
    [5, 5, 5, 5],
  )
  for (const { answer } of engine.calls) answer()
  t.strictSame(
    await Promise.all(many),
    names(20).map((key) => `value of ${key}`),
  )
})

t.test('what is asked for while the engine is busy waits, and goes together', async (t) => {
  const engine = new SlowEngine()
  const reads = new GatheredReads(engine)
  const all = ask(reads, names(200))
  await turn()
  t.strictSame(
    engine.calls.map(({ keys }) => keys.length),
    [16, 16, 16, 16],
    'no more than the engine does at a time',
  )
  all.push(...ask(reads, ['late']))
  engine.calls.splice(0, 1)[0]?.answer()
  await turn()
  t.equal(engine.calls.length, 4, 'one call ended, one began')
  for (let call = engine.calls.shift(); call !== undefined; call = engine.calls.shift()) {
    call.answer()
    await turn()
  }
  t.strictSame(
    await Promise.all(all),
    [...names(200), 'late'].map((key) => `value of ${key}`),
  )
})

t.test('one that cannot be read does not keep the others from their values', async (t) => {
  const engine = new SlowEngine()
  const reads = new GatheredReads(engine)
  const answers = Promise.allSettled(ask(reads, names(8)))
  await turn()
  engine.calls.splice(0, 1)[0]?.answer(new Error('a block is damaged'))
  await turn()
  for (const { keys, answer } of engine.calls) {
    answer(keys[0] === 'key 1' ? new Error('a block is damaged') : undefined)
  }
  t.strictSame(
    (await answers).map(({ status }) => status),
    names(8).map((key) => (key === 'key 1' ? 'rejected' : 'fulfilled')),
  )
})
