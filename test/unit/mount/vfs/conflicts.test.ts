/**
 * How long a change is tried again that others keep overtaking.
 */
import t from 'tap'
import { Conflicts } from '../../../../mount/vfs/conflicts.ts'

t.test('many attempts in a row while time is left, none after it', async (t) => {
  let nowMs = 1_000
  const conflicts = new Conflicts(() => nowMs)
  for (let n = 0; n < 40; n++) t.ok(await conflicts.again())
  nowMs += 19_000
  t.ok(await conflicts.again())
  nowMs += 2_000
  t.notOk(await conflicts.again())
})

t.test('time runs from the first attempt that came too late', async (t) => {
  let nowMs = 0
  const conflicts = new Conflicts(() => nowMs)
  nowMs = 60_000
  t.ok(await conflicts.again(), 'however long the first took')
})
