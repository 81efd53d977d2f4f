/**
 * Where a large cut begins.
 */
import t from 'tap'
import { firstCut } from '../../../../mount/vfs/cut-steps.ts'
import { limits } from '../../../../schema/wire/limits.ts'

const WINDOW = limits.chunkBytesMax
const DIGEST = new Uint8Array(32)

/** A manifest of windows with content, in no order. */
function manifest(windows: readonly number[]): Map<number, Uint8Array> {
  return new Map(windows.toReversed().map((window) => [window, DIGEST]))
}

t.test('a cut goes in steps that one commit can take, from the end', async (t) => {
  const most = limits.windowsCutMax
  const windows = Array.from({ length: 3 * most }, (_, index) => 2 * index)
  t.equal(firstCut(manifest(windows.slice(0, most + 1)), 1), undefined, 'few enough')
  let left = windows
  let steps = 0
  for (;;) {
    const cut = firstCut(manifest(left), WINDOW + 5)
    if (cut === undefined) break
    const kept = left.filter((window) => window * WINDOW < cut)
    t.equal(left.length - kept.length, most)
    left = kept
    steps++
  }
  t.equal(steps, 2, 'the rest is cut by the commit itself')
  t.equal(left.length, most)
  t.equal(firstCut(manifest(windows), 0), undefined, 'to nothing has no limit')
})
