/**
 * What the kernel keeps of our answers: everything while nobody else can change the tree, nothing
 * when somebody can, and never what changes without its knowledge.
 */
import { chmod, link, mkdir, open, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { MountOptions } from '../../mount/fuse/mount.ts'
import { KEPT_MS } from '../../mount/fuse/kernel-cache.ts'
import { ACCESS_ACL, ACL_TAG, encodeAcl, NO_ID } from '../../mount/vfs/acl.ts'
import { mountModel, noFuse, run, type MountedModel } from '../support/fuse-mount.ts'

// The tree of the test belongs to root.
const skip = noFuse() ?? (process.geteuid?.() === 0 ? false : 'needs root')

/** A mount whose tree nobody else uses, if `sole`; answers how often it was asked since. */
async function mounted(
  t: Test,
  sole: boolean,
  options: Partial<MountOptions> = {},
): Promise<MountedModel & { readonly asked: (operation: string) => number }> {
  const made = await mountModel(t, options)
  const { model } = made
  if (sole) model.soleUse = {}
  const before = new Map<string, number>()
  const asked = (operation: string): number => {
    const count = model.calls.get(operation) ?? 0
    const since = count - (before.get(operation) ?? 0)
    before.set(operation, count)
    return since
  }
  return { ...made, asked }
}

t.test('the way to a file is asked for once while the tree is ours', { skip }, async (t) => {
  const { directory, asked, model } = await mounted(t, true)
  const deep = join(directory, 'a/b/c')
  await mkdir(deep, { recursive: true })
  const file = join(deep, 'file')
  await writeFile(file, 'content')
  await stat(file)
  asked('stat')
  for (let i = 0; i < 50; i++) await stat(file)
  // Each within the period of the one before, mostly, also on a machine that is busy.
  t.ok(asked('stat') <= 100, 'the file alone, of four names')
  for (let i = 0; i < 50; i++) await stat(deep)
  t.ok(asked('stat') <= 10, 'directories are kept with all that is known of them')
  model.soleUse = undefined
  await sleep(KEPT_MS + 100)
  asked('stat')
  for (let i = 0; i < 10; i++) await stat(file)
  t.ok(asked('stat') >= 40, 'each name was asked for when others use the tree')
})

t.test('who gets at the tree finds a kernel that knows nothing', { skip }, async (t) => {
  const { directory, asked, model } = await mounted(t, true)
  const file = join(directory, 'file')
  await writeFile(file, 'content')
  await stat(file)
  await model.yieldTree()
  asked('stat')
  await stat(file)
  t.ok(asked('stat') >= 1)
  const started = performance.now()
  await model.yieldTree()
  t.ok(performance.now() - started < KEPT_MS, 'nothing was kept, nothing is waited for')
})

t.test('the other names of a file show what is done through one of them', { skip }, async (t) => {
  const { directory } = await mounted(t, true)
  const names = ['a', 'b', 'c'].map((name) => join(directory, name))
  const [a = '', b = '', c = ''] = names
  await writeFile(a, 'content')
  await stat(a)
  await link(a, b)
  t.equal((await stat(a)).nlink, 2)
  t.equal((await stat(b)).nlink, 2)
  await link(b, c)
  t.equal((await stat(a)).nlink, 3)
  const handle = await open(c, 'a')
  await handle.write(' and more')
  await handle.close()
  t.equal((await stat(a)).size, 16)
})

t.test('pages stay while the tree is ours, and go when it was not', { skip }, async (t) => {
  const { directory, asked, model } = await mounted(t, true)
  const file = join(directory, 'file')
  await writeFile(file, 'content')
  t.equal(await readFile(file, 'utf8'), 'content')
  asked('read')
  t.equal(await readFile(file, 'utf8'), 'content')
  t.equal(asked('read'), 0, 'nothing was read again')
  await model.yieldTree()
  const handle = await model.open('/file', 1)
  await model.write(handle, Buffer.from('CONTENT'), 0)
  await model.release(handle)
  t.equal(await readFile(file, 'utf8'), 'CONTENT', 'others may have written meanwhile')
  model.soleUse = {}
  t.equal(await readFile(file, 'utf8'), 'CONTENT')
  const again = await model.open('/file', 1)
  await model.write(again, Buffer.from('other!!'), 0)
  await model.release(again)
  model.soleUse = {}
  t.equal(await readFile(file, 'utf8'), 'other!!', 'another time of sole use')
})

t.test(
  'a list is asked for where there may be one, and forgotten with the mode',
  { skip },
  async (t) => {
    const { directory, asked, model } = await mounted(t, true, { allowOther: true })
    const file = join(directory, 'file')
    await writeFile(file, 'content', { mode: 0o640 })
    await chmod(directory, 0o755)
    const readByNobody = async (): Promise<boolean> => {
      const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups']
      return (await run('setpriv', [...nobody, 'cat', file])).stdout === 'content'
    }
    await stat(file)
    asked('getXattr')
    for (let i = 0; i < 10; i++) t.notOk(await readByNobody())
    t.equal(asked('getXattr'), 0, 'the kernel was told that there are no extended attributes')
    // Somebody else changes it.
    await model.yieldTree()
    const entry = (tag: number, permissions: number, id: number = NO_ID) => ({
      tag,
      permissions,
      id,
    })
    const list = encodeAcl([
      entry(ACL_TAG.owner, 6),
      entry(ACL_TAG.user, 4, 65_534),
      entry(ACL_TAG.owningGroup, 4),
      entry(ACL_TAG.mask, 4),
      entry(ACL_TAG.other, 0),
    ])
    await model.setXattr('/file', ACCESS_ACL, list, 'either')
    t.ok(await readByNobody(), 'by the list')
    t.ok(asked('getXattr') >= 1)
    await model.removeXattr('/file', ACCESS_ACL)
    t.notOk(await readByNobody(), 'it is gone')
    model.soleUse = {}
    await model.setXattr('/file', ACCESS_ACL, list, 'either')
    t.ok(await readByNobody())
    await model.yieldTree()
    await model.removeXattr('/file', ACCESS_ACL)
    t.notOk(await readByNobody(), 'what was kept is waited for')
  },
)
