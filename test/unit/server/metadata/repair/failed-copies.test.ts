/**
 * Copies that fail by the thousand are told in few lines, none is left out of their sums.
 */
import t from 'tap'
import { DfsError } from '../../../../../schema/wire/status.ts'
import { Clock } from '../../../../../server/metadata/clock.ts'
import { FailedCopies } from '../../../../../server/metadata/repair/failed-copies.ts'
import { silent } from '../../../../support/transport.ts'

interface Line {
  readonly failed: number
  readonly chunk: number
  readonly server: number
  readonly code: string
  readonly err: string
}

t.test('the first is told at once, the others summed up', async (t) => {
  let nowMs = 1_000_000
  const lines: Line[] = []
  const log = { ...silent, warn: (fields: object) => void lines.push(fields as Line) }
  const failed = new FailedCopies(new Clock(() => nowMs), log)
  failed.tell()
  t.strictSame(lines, [], 'nothing failed')
  const full = new DfsError('diskFull', 'no room')
  const away = new DfsError('connectionLost', 'it is away')
  failed.add({ chunk: 1, server: 3, error: full })
  const first = { failed: 1, chunk: 1, server: 3, code: 'diskFull', err: 'no room' }
  t.strictSame(lines, [first])
  for (let chunk = 2; chunk <= 3_000; chunk++) {
    nowMs++
    failed.add({ chunk, server: chunk === 2 ? 4 : 3, error: chunk === 2 ? away : full })
  }
  t.equal(lines.length, 1)
  nowMs += 10_000
  failed.tell()
  const rest = { failed: 2_999, chunk: 2, server: 4, code: 'connectionLost', err: 'it is away' }
  t.strictSame(lines, [first, rest])
  nowMs += 10_000
  failed.tell()
  t.equal(lines.length, 2, 'nothing more failed')
  failed.add({ chunk: 9, server: 3, error: full })
  t.match(lines[2], { failed: 1, chunk: 9 })
})
