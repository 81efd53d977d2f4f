/**
 * The bound on memory for written data: who waits, who is asked to finish, and that no constellation
 * of idle and waiting writers hangs.
 */
import { performance } from 'node:perf_hooks'
import t from 'tap'
import { WriteBudget, type BudgetHolder } from '../../../../mount/client/write-budget.ts'
import { until } from '../../../support/transport.ts'

class Holder implements BudgetHolder {
  heldBytes = 0
  finishing = false
  appendedMs = performance.now()
  pressed = 0
  readonly #canFinish: boolean
  readonly #budget: WriteBudget

  constructor(budget: WriteBudget, canFinish = false) {
    this.#budget = budget
    this.#canFinish = canFinish
    budget.enter(this)
  }

  press(): boolean {
    if (!this.#canFinish || this.pressed > 0) return false
    this.pressed++
    return true
  }

  append(bytes: number): Promise<void> | undefined {
    this.heldBytes += bytes
    this.appendedMs = performance.now()
    this.#budget.grew(bytes)
    return this.#budget.wait(this)
  }

  done(): void {
    this.#budget.grew(-this.heldBytes)
    this.heldBytes = 0
    this.#budget.leave(this)
  }
}

/** Whether a promise is settled by now. */
async function settled(promise: Promise<void> | undefined): Promise<boolean> {
  const pending = Symbol('pending')
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending
}

t.test('nobody waits within the budget', async (t) => {
  const budget = new WriteBudget(100)
  const one = new Holder(budget)
  t.equal(one.append(60), undefined)
  t.equal(one.append(40), undefined)
  t.equal(budget.usedBytes, 100)
  one.done()
  t.equal(budget.usedBytes, 0)
})

t.test(
  'over the budget, writers wait for a chunk that is being finished, first come first served',
  async (t) => {
    const budget = new WriteBudget(100)
    const [finishing, first, second] = [new Holder(budget), new Holder(budget), new Holder(budget)]
    void finishing.append(90)
    finishing.finishing = true
    const order: string[] = []
    const waits = [
      Promise.resolve(first.append(20)).then(() => order.push('first')),
      Promise.resolve(second.append(20)).then(() => order.push('second')),
    ]
    t.notOk(await settled(waits[0]?.then(() => undefined)))
    finishing.done()
    await Promise.all(waits)
    t.same(order, ['first', 'second'])
    first.done()
    second.done()
  },
)

t.test('the largest chunk whose owner can finish it is asked to', async (t) => {
  const budget = new WriteBudget(100)
  const small = new Holder(budget, true)
  const large = new Holder(budget, true)
  const [waiting, another] = [new Holder(budget), new Holder(budget)]
  void small.append(20)
  void large.append(70)
  const wait = waiting.append(20)
  t.equal(large.pressed, 1)
  const more = another.append(5)
  t.equal(small.pressed, 0, 'one at a time')
  t.notOk(await settled(wait))
  large.finishing = true
  large.done()
  await wait
  await more
  t.equal(small.pressed, 0)
  another.done()
  small.done()
  waiting.done()
})

t.test('when no owner can be asked, one writer at a time may go on to its end', async (t) => {
  const budget = new WriteBudget(100)
  const idle = new Holder(budget)
  const [one, two] = [new Holder(budget), new Holder(budget)]
  void idle.append(90)
  const first = one.append(20)
  const second = two.append(20)
  await first
  t.equal(one.append(50), undefined, 'it has the pass')
  t.notOk(await settled(second))
  one.finishing = true
  one.done()
  await second
  two.done()
  idle.done()
})

t.test('a pass moves on when its holder goes idle', async (t) => {
  const budget = new WriteBudget(100)
  const [idle, one, two] = [new Holder(budget), new Holder(budget), new Holder(budget)]
  void idle.append(90)
  const first = one.append(20)
  const second = two.append(20)
  await first
  one.appendedMs = performance.now() - 1_100
  let went = false
  void second?.then(() => (went = true))
  t.ok(await until(() => went, 1_000))
  for (const holder of [idle, one, two]) holder.done()
})

t.test('a writer that is given up while it waits does not wait on', async (t) => {
  const budget = new WriteBudget(100)
  const [stuck, waiting] = [new Holder(budget), new Holder(budget)]
  void stuck.append(150)
  stuck.finishing = true
  const wait = waiting.append(10)
  waiting.done()
  await wait
  stuck.done()
  t.equal(budget.usedBytes, 0)
})
