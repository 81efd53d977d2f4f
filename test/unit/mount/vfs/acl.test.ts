/**
 * Access control lists: the value of the extended attribute byte by byte, what is a list at all, and how the
 * mode and a list make each other. Properties are those of acl(5).
 */
import * as fc from 'fast-check'
import t from 'tap'
import {
  ACL_TAG,
  decodeAcl,
  encodeAcl,
  inheritedBy,
  isMinimal,
  modeOf,
  NO_ID,
  withMode,
  type Acl,
  type AclEntry,
} from '../../../../mount/vfs/acl.ts'
import { present } from '../../../support/present.ts'

const { owner, user, owningGroup, group, mask, other } = ACL_TAG

const entry = (tag: number, permissions: number, id: number = NO_ID): AclEntry => ({
  tag,
  permissions,
  id,
})

const permissionsOf = (acl: Acl, tag: number): number | undefined =>
  acl.find((found) => found.tag === tag)?.permissions

const permissions = fc.nat({ max: 7 })
const named = fc.array(fc.tuple(fc.nat({ max: NO_ID - 1 }), permissions), { maxLength: 4 })

/** Lists that Linux takes. */
const lists: fc.Arbitrary<Acl> = fc
  .record({
    bits: fc.tuple(permissions, permissions, permissions),
    users: named,
    groups: named,
    mask: fc.option(permissions, { nil: undefined }),
  })
  .map(({ bits, users, groups, mask: given }) => {
    const masked = given ?? (users.length + groups.length > 0 ? 5 : undefined)
    return [
      entry(owner, bits[0]),
      ...users.map(([id, allowed]) => entry(user, allowed, id)),
      entry(owningGroup, bits[1]),
      ...groups.map(([id, allowed]) => entry(group, allowed, id)),
      ...(masked === undefined ? [] : [entry(mask, masked)]),
      entry(other, bits[2]),
    ]
  })
const modes = fc.nat({ max: 0o7777 })

interface Person {
  readonly uid: number
  readonly gids: readonly number[]
}
const OWNER_UID = 1
const OWNER_GID = 2

/** Whether a list lets somebody do all of `wanted`: the access check of acl(5). */
function mayDo(acl: Acl, { uid, gids }: Person, wanted: number): boolean {
  const limit = permissionsOf(acl, mask) ?? 7
  const grants = (bits: number): boolean => (bits & wanted) === wanted
  if (uid === OWNER_UID) return grants(permissionsOf(acl, owner) ?? 0)
  const self = acl.find((found) => found.tag === user && found.id === uid)
  if (self !== undefined) return grants(self.permissions & limit)
  const groups = acl.filter(
    ({ tag, id }) =>
      (tag === owningGroup && gids.includes(OWNER_GID)) || (tag === group && gids.includes(id)),
  )
  if (groups.length > 0) return groups.some((found) => grants(found.permissions & limit))
  return grants(permissionsOf(acl, other) ?? 0)
}

t.test('the value is that of linux/posix_acl_xattr.h', async (t) => {
  // As setfacl -m u:1000:r,g:50:rx writes it for a file of mode 640.
  const hex =
    '02000000 01000600ffffffff 02000400e8030000 04000400ffffffff 0800050032000000 10000500ffffffff 20000000ffffffff'
  const value = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  const acl = present(decodeAcl(value))
  t.same(acl, [
    entry(owner, 6),
    entry(user, 4, 1_000),
    entry(owningGroup, 4),
    entry(group, 5, 50),
    entry(mask, 5),
    entry(other, 0),
  ])
  t.same(encodeAcl(acl), value)
  t.equal(modeOf(acl, 0), 0o650, 'the mask stands where the group does')
  t.notOk(isMinimal(acl))
})

t.test('ids of those who are not named say nothing', async (t) => {
  const value = encodeAcl([entry(owner, 6, 7), entry(owningGroup, 4, 8), entry(other, 0, 9)])
  t.same(decodeAcl(value), [entry(owner, 6), entry(owningGroup, 4), entry(other, 0)])
})

t.test('no entries are no list', async (t) => {
  t.equal(decodeAcl(new Uint8Array(0)), undefined)
  t.equal(decodeAcl(encodeAcl([])), undefined)
})

t.test('what Linux refuses is refused', async (t) => {
  const [o, g, r] = [entry(owner, 7), entry(owningGroup, 7), entry(other, 7)]
  const u = entry(user, 7, 1)
  const m = entry(mask, 7)
  const bad: readonly Acl[] = [
    [o],
    [g, r],
    [o, r],
    [o, g],
    [o, o, g, r],
    [o, g, g, r],
    [o, g, r, r],
    [g, o, r],
    [o, g, m, m, r],
    [o, u, g, r],
    [o, g, u, m, r],
    [o, g, r, m],
    [o, entry(group, 7, 1), g, m, r],
    [o, entry(user, 7, NO_ID), g, m, r],
    [entry(owner, 8), g, r],
    [o, g, entry(0x40, 7), r],
    [entry(0, 7), o, g, r],
  ]
  for (const acl of bad) {
    t.throws(() => decodeAcl(encodeAcl(acl)), { code: 'invalidArgument' }, JSON.stringify(acl))
  }
  const value = encodeAcl([o, u, g, m, r])
  t.throws(() => decodeAcl(value.subarray(0, 3)), { code: 'invalidArgument' })
  t.throws(() => decodeAcl(value.subarray(0, -1)), { code: 'invalidArgument' })
  value[0] = 1
  t.throws(() => decodeAcl(value), { code: 'notSupported' })
  const users = Array.from({ length: 600 }, (_, id) => entry(user, 7, id))
  t.throws(() => decodeAcl(encodeAcl([o, ...users, g, m, r])), { code: 'noSpace' })
})

t.test('random bytes are refused or a list that comes back the same', async () => {
  const bytes = fc.uint8Array({ maxLength: 60 })
  fc.assert(
    fc.property(bytes, (value) => {
      try {
        const acl = decodeAcl(Buffer.concat([encodeAcl([]), value]))
        return acl === undefined ? value.length === 0 : acl.every(({ permissions: p }) => p <= 7)
      } catch (error) {
        return (error as { code?: string }).code === 'invalidArgument'
      }
    }),
  )
})

t.test('a list comes back from its value, from memory anywhere', async (t) => {
  fc.assert(
    fc.property(lists, (acl) => {
      const padded = Buffer.concat([Buffer.alloc(3), encodeAcl(acl)])
      t.same(decodeAcl(padded.subarray(3)), acl)
    }),
  )
})

t.test('a mode and a list', async (t) => {
  await t.test('chmod gives the mode that was asked for, and touches nobody by name', async () => {
    fc.assert(
      fc.property(lists, modes, (acl, mode) => {
        const after = withMode(acl, mode)
        const untouched = acl.every(
          ({ tag, permissions: before }, at) =>
            ![user, group].some((one) => one === tag) || after[at]?.permissions === before,
        )
        return modeOf(after, mode) === mode && untouched && after.length === acl.length
      }),
    )
  })

  await t.test('bits that no list knows stay', async () => {
    fc.assert(
      fc.property(lists, modes, (acl, mode) => (modeOf(acl, mode) & 0o7000) === (mode & 0o7000)),
    )
  })

  await t.test('a minimal list says what the mode does', async () => {
    fc.assert(
      fc.property(lists, modes, (acl, mode) => {
        const fromMode = [
          entry(owner, (modeOf(acl, mode) >> 6) & 7),
          entry(owningGroup, (modeOf(acl, mode) >> 3) & 7),
          entry(other, modeOf(acl, mode) & 7),
        ]
        const same = JSON.stringify(acl) === JSON.stringify(fromMode)
        return isMinimal(acl) === (acl.length === 3) && isMinimal(acl) === same
      }),
    )
  })
})

t.test(
  'what is inherited allows nobody more than the default, or than the mode asked for',
  async () => {
    const people = fc.record({
      uid: fc.nat({ max: 5 }),
      gids: fc.uniqueArray(fc.nat({ max: 5 }), { minLength: 1, maxLength: 3 }),
    })
    // Few ids, so that they meet.
    const few = lists.map((acl) =>
      acl.map((one) => (one.id === NO_ID ? one : { ...one, id: one.id % 6 })),
    )
    fc.assert(
      fc.property(few, modes, people, permissions, (acl, mode, person, wanted) => {
        const inherited = inheritedBy(acl, mode)
        const most = modeOf(inherited, 0)
        if ((most & ~mode) !== 0) return false
        return !mayDo(inherited, person, wanted) || mayDo(acl, person, wanted)
      }),
      { numRuns: 2_000 },
    )
  },
)
