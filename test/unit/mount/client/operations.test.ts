/**
 * Operation ids: ascending, never reused, forgotten at the server only when everything below was
 * answered; and what becomes of operations when the server ends the session.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { Operations, type OpenOperation } from '../../../../mount/client/operations.ts'

t.test('everything below answeredBelow has ended, and nothing under way is below it', async () => {
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 60 }), (choices) => {
      const operations = new Operations()
      const open: OpenOperation[] = []
      const seen = new Set<number>()
      for (const choice of choices) {
        if (choice % 2 === 0 || open.length === 0) {
          const operation = operations.begin()
          if (seen.has(operation.id)) return false
          seen.add(operation.id)
          open.push(operation)
        } else {
          const [ended] = open.splice(choice % open.length, 1)
          if (ended !== undefined) operations.end(ended)
        }
        for (const operation of open) {
          const { id, answeredBelow } = operations.wire(operation)
          const oldest = Math.min(...open.map((other) => other.id))
          if (id !== operation.id || answeredBelow !== oldest) return false
        }
      }
      return operations.size === open.length
    }),
  )
})

t.test('with the session go operations that may have taken effect, and only those', async (t) => {
  const operations = new Operations()
  const [sent, waiting] = [operations.begin(), operations.begin()]
  sent.uncertain = true
  operations.sessionLost()
  t.equal(sent.signal.aborted, true)
  t.equal(waiting.signal.aborted, false)
  t.equal(operations.outlivedSession(sent), true)
  t.equal(operations.outlivedSession(operations.begin()), false)
})
