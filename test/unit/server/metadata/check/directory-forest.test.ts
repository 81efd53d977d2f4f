/**
 * Directories that hang below themselves.
 */
import t from 'tap'
import { DirectoryForest } from '../../../../../server/metadata/check/directory-forest.ts'

function detached(parents: Readonly<Record<number, number>>): number[] {
  const forest = new DirectoryForest()
  for (const [id, parent] of Object.entries(parents)) forest.add(Number(id), parent)
  return [...forest.detached()].sort((a, b) => a - b)
}

t.test('what leads up to a root is attached, in any order of ids', async (t) => {
  t.same(detached({}), [])
  t.same(detached({ 1: 1, 2: 1, 3: 2, 9: 9, 10: 9 }), [])
  t.same(detached({ 1: 5, 2: 1, 5: 7, 7: 7 }), [])
})

t.test('circles, what hangs on them, and what hangs on nothing is found', async (t) => {
  t.same(detached({ 1: 1, 2: 3, 3: 2, 4: 3, 5: 1 }), [2, 3, 4])
  t.same(detached({ 1: 1, 2: 8, 3: 2 }), [2, 3])
})

t.test('thousands of them', async (t) => {
  const forest = new DirectoryForest()
  for (let id = 1; id <= 50_000; id++) forest.add(id, Math.max(1, id - 1))
  t.same([...forest.detached()], [])
})
