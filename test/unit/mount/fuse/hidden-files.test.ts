/**
 * Removals of open files that may turn out to be replacements, whenever the rename that tells comes.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { HiddenFiles } from '../../../../mount/fuse/hidden-files.ts'
import { MemoryLog } from '../../../support/fuse-mount.ts'
import { ModelFileSystem } from '../../../support/model-file-system.ts'

const READ_WRITE = 2
const owner = { uid: 0, gid: 0 }
const thread = Buffer.alloc(1)
const hiddenName = '/.fuse_hidden0123456789abcdef'

async function write(model: ModelFileSystem, path: string, text: string): Promise<number> {
  const handle = await model.create(path, 0o644, READ_WRITE, owner)
  await model.write(handle, Buffer.from(text), 0)
  return handle
}

/** An open file, hidden, and one to replace it. */
async function replacing(): Promise<{ model: ModelFileSystem; hidden: HiddenFiles }> {
  const model = new ModelFileSystem()
  const hidden = new HiddenFiles(model, new MemoryLog())
  hidden.opened(await write(model, '/file', 'old'))
  await model.release(await write(model, '/new', 'newer'))
  await hidden.hide('/file', hiddenName, thread)
  return { model, hidden }
}

t.test('a rename that comes in time replaces', async (t) => {
  const { model, hidden } = await replacing()
  await hidden.rename('/new', '/file', thread)
  await hidden.settled('/file')
  t.equal((await model.stat('/file')).size, 5)
  t.equal(model.calls.get('unlink') ?? 0, 0)
})

t.test(
  'a rename that comes while the old file is being removed does not lose the new one',
  async (t) => {
    const { model, hidden } = await replacing()
    await new Promise<void>((resolve, reject) => {
      model.fault = async (operation) => {
        if (operation !== 'unlink') return
        hidden.rename('/new', '/file', thread).then(resolve, reject)
        await pause(20)
      }
    })
    await hidden.settledBelow('/')
    t.equal((await model.stat('/file')).size, 5)
  },
)
