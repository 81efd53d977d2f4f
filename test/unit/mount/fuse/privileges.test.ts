/**
 * What set-uid and set-gid are taken from is the mode of now, not the one that the kernel was told.
 */
import t from 'tap'
import { dropPrivileges, hasPrivileges } from '../../../../mount/fuse/handlers/privileges.ts'
import { Node } from '../../../../mount/fuse/node-table.ts'
import type { ModeChange } from '../../../../mount/vfs/api.ts'

const FILE = 0o100_000
const DIRECTORY = 0o040_000

/** A file whose mode is another by now. */
function fileOf(mode: number): {
  mode: number
  chmod: (target: unknown, to: number | ModeChange) => Promise<void>
} {
  const file = {
    mode,
    async chmod(_target: unknown, to: number | ModeChange): Promise<void> {
      file.mode = typeof to === 'number' ? to : to(file.mode)
    },
  }
  return file
}

t.test('what another mount has set meanwhile stays', async (t) => {
  const known = new Node(2, { inode: 2, mode: FILE | 0o6755 })
  const file = fileOf(FILE | 0o6710)
  await dropPrivileges(file, known, '/file')
  t.equal(file.mode, FILE | 0o710)
  t.equal(known.mode, FILE | 0o755, 'what the kernel was told is its own matter')
})

t.test('set-gid without execution by the group means locking, and stays', async (t) => {
  const known = new Node(2, { inode: 2, mode: FILE | 0o6755 })
  const file = fileOf(FILE | 0o6745)
  await dropPrivileges(file, known, '/file')
  t.equal(file.mode, FILE | 0o2745)
})

t.test('what there is something to take from', async (t) => {
  const has = (mode: number): boolean => hasPrivileges(new Node(2, { inode: 2, mode }))
  t.ok(has(FILE | 0o4755))
  t.ok(has(FILE | 0o2755))
  t.notOk(has(FILE | 0o2745))
  t.notOk(has(FILE | 0o755))
  t.notOk(has(FILE | 0o1755), 'sticky')
  t.notOk(has(DIRECTORY | 0o6755), 'of a directory set-gid is inherited')
})
