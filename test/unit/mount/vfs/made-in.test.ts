/** What a new inode takes from its directory. */
import t from 'tap'
import { madeIn } from '../../../../mount/vfs/made-in.ts'
import { KIND } from '../../../../mount/vfs/stat.ts'

const owner = { uid: 5, gid: 6 }

t.test('an ordinary directory gives nothing', async (t) => {
  for (const kind of [KIND.file, KIND.directory]) {
    const made = madeIn({ mode: 0o1777, gid: 9 }, kind, { mode: 0o640, owner })
    t.same(made, { mode: 0o640, owner })
  }
})

t.test('with the set-group-ID bit it gives its group, and the bit to directories', async (t) => {
  const directory = { mode: 0o2775, gid: 9 }
  const owned = { uid: 5, gid: 9 }
  t.same(madeIn(directory, KIND.file, { mode: 0o640, owner }), { mode: 0o640, owner: owned })
  t.same(madeIn(directory, KIND.symlink, { mode: 0o777, owner }), { mode: 0o777, owner: owned })
  t.same(madeIn(directory, KIND.directory, { mode: 0o750, owner }), { mode: 0o2750, owner: owned })
})
