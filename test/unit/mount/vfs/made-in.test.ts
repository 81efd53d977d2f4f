/** What a new inode takes from its directory. */
import t from 'tap'
import { ACCESS_ACL, ACL_TAG, DEFAULT_ACL, encodeAcl, NO_ID } from '../../../../mount/vfs/acl.ts'
import { closedUntilListed, madeIn } from '../../../../mount/vfs/made-in.ts'
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

t.test('the umask counts where there is no default ACL, but not for symbolic links', async (t) => {
  const directory = { mode: 0o755, gid: 9 }
  const masked = { ...owner, umask: 0o027 }
  t.same(madeIn(directory, KIND.file, { mode: 0o4666, owner: masked }), { mode: 0o4640, owner })
  t.same(madeIn(directory, KIND.symlink, { mode: 0o777, owner: masked }), { mode: 0o777, owner })
})

t.test('with a default ACL it gives a list, and to directories that one too', async (t) => {
  const entry = (tag: number, permissions: number, id: number = NO_ID) => ({ tag, permissions, id })
  const list = (of: number, group: number, mask: number, rest: number) => [
    entry(ACL_TAG.owner, of),
    entry(ACL_TAG.user, 7, 1_000),
    entry(ACL_TAG.owningGroup, group),
    entry(ACL_TAG.mask, mask),
    entry(ACL_TAG.other, rest),
  ]
  const directory = { mode: 0o2755, gid: 9 }
  const owned = { uid: 5, gid: 9 }
  const from = { mode: 0o4666, owner: { ...owner, umask: 0o777 } }
  const file = madeIn(directory, KIND.file, from, list(7, 5, 7, 1))
  const access = encodeAcl(list(6, 5, 6, 0))
  t.same(file, { mode: 0o4660, owner: owned, acls: new Map([[ACCESS_ACL, access]]) })
  t.equal(closedUntilListed(file), 0o4600)
  const made = madeIn(directory, KIND.directory, { ...from, mode: 0o777 }, list(7, 5, 7, 1))
  const inherited = encodeAcl(list(7, 5, 7, 1))
  t.equal(made.mode, 0o2771)
  t.same(
    made.acls,
    new Map([
      [ACCESS_ACL, inherited],
      [DEFAULT_ACL, inherited],
    ]),
  )
  t.equal(closedUntilListed(made), 0o2700)
  t.same(madeIn(directory, KIND.symlink, from, list(7, 5, 7, 1)), { mode: 0o4666, owner: owned })
})

t.test('a default ACL that a mode can say gives files nothing but their mode', async (t) => {
  const list = [
    { tag: ACL_TAG.owner, permissions: 7, id: NO_ID },
    { tag: ACL_TAG.owningGroup, permissions: 5, id: NO_ID },
    { tag: ACL_TAG.other, permissions: 0, id: NO_ID },
  ]
  const directory = { mode: 0o755, gid: 9 }
  const file = madeIn(directory, KIND.file, { mode: 0o666, owner }, list)
  t.same(file, { mode: 0o640, owner })
  t.equal(closedUntilListed(file), 0o640)
  const made = madeIn(directory, KIND.directory, { mode: 0o777, owner }, list)
  t.same(made, { mode: 0o750, owner, acls: new Map([[DEFAULT_ACL, encodeAcl(list)]]) })
})
