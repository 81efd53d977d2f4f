/**
 * What a mount does when things do not go as they should: files that vanish while open, a file system
 * that hangs or has bugs, mounts that are in use, dead or badly placed.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rmdir,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { mount } from '../../mount/fuse/mount.ts'
import { DfsError } from '../../schema/wire/status.ts'
import {
  MemoryLog,
  mountModel,
  noFuse,
  run,
  shell,
  temporaryDirectory,
} from '../support/fuse-mount.ts'
import { ModelFileSystem } from '../support/model-file-system.ts'

const skip = noFuse() ?? false

t.test('a file that is removed while open lives until it is closed', { skip }, async (t) => {
  const { directory, model } = await mountModel(t)
  const file = join(directory, 'file')
  await writeFile(file, 'before')
  const handle = await open(file, 'r+')
  await unlink(file)
  t.same(await readdir(directory), [], 'no name is left, not even a hidden one')
  await t.rejects(stat(file), { code: 'ENOENT' })
  t.equal((await handle.stat()).nlink, 0)
  await handle.write('after!!', 6)
  await handle.truncate(12)
  await handle.sync()
  const { buffer } = await handle.read(Buffer.alloc(12), 0, 12, 0)
  t.equal(buffer.toString(), 'beforeafter!')
  await writeFile(file, 'another')
  t.equal((await handle.stat()).size, 12, 'a new file of that name is another file')
  await handle.close()
  t.equal(await readFile(file, 'utf8'), 'another')
  await pause(50)
  t.equal(model.openFiles, 0)
})

t.test('close and remove at once: the release may come later', { skip }, async (t) => {
  const { directory, model } = await mountModel(t)
  model.fault = (operation) => (operation === 'release' ? pause(20) : undefined)
  await shell(
    directory,
    'for i in $(seq 20); do echo x > f; rm f; done; rmdir ../"${PWD##*/}" || true',
  )
  t.same(await readdir(directory), [])
})

t.test('renaming over an open file is one step for everybody', { skip }, async (t) => {
  const { directory, model } = await mountModel(t)
  const file = join(directory, 'file')
  await writeFile(file, 'old')
  const old = await open(file, 'r')
  let missing = 0
  model.fault = (operation) => (operation === 'rename' ? pause(30) : undefined)
  await writeFile(join(directory, 'new'), 'new')
  const renamed = rename(join(directory, 'new'), file)
  const looks = (async () => {
    for (let n = 0; n < 20; n++) {
      await stat(file).catch(() => missing++)
      await pause(2)
    }
  })()
  await Promise.all([renamed, looks])
  t.equal(missing, 0, 'the name is there all the time')
  t.equal(model.calls.get('unlink') ?? 0, 0)
  t.equal((await old.readFile()).toString(), 'old')
  t.equal(await readFile(file, 'utf8'), 'new')
  t.equal((await old.stat()).nlink, 0)
  await old.close()
  t.same(await readdir(directory), ['file'])
})

t.test('a failed replacement leaves the old file', { skip }, async (t) => {
  const { directory, model } = await mountModel(t)
  const file = join(directory, 'file')
  await writeFile(file, 'old')
  await writeFile(join(directory, 'new'), 'new')
  const old = await open(file, 'r')
  model.fault = (operation) => {
    if (operation === 'rename') throw new DfsError('noSpace', 'full')
  }
  await t.rejects(rename(join(directory, 'new'), file), { code: 'ENOSPC' })
  await old.close()
  t.equal(await readFile(file, 'utf8'), 'old')
})

t.test('a directory can go while a removed file in it is open', { skip }, async (t) => {
  const { directory } = await mountModel(t)
  await mkdir(join(directory, 'd'))
  const handle = await open(join(directory, 'd/file'), 'w+')
  await handle.write('content')
  await unlink(join(directory, 'd/file'))
  await rmdir(join(directory, 'd'))
  t.equal((await handle.read(Buffer.alloc(7), 0, 7, 0)).buffer.toString(), 'content')
  t.equal((await handle.stat()).nlink, 0)
  await handle.close()
})

t.test('what a removal does to its directory is done when it returns', { skip }, async (t) => {
  const { directory, model } = await mountModel(t)
  const above = join(directory, 'd')
  await mkdir(above)
  await writeFile(join(above, 'file'), 'x')
  const handle = await open(join(above, 'file'), 'r')
  model.fault = (operation) => (operation === 'unlink' ? pause(20) : undefined)
  await unlink(join(above, 'file'))
  await utimes(above, 1_000, 2_000)
  await handle.close()
  await pause(50)
  t.equal((await stat(above)).mtimeMs, 2_000_000, 'the time that was set last')

  await writeFile(join(above, 'file'), 'x')
  const again = await open(join(above, 'file'), 'r')
  await utimes(above, 1_000, 2_000)
  await unlink(join(above, 'file'))
  t.not((await stat(above)).mtimeMs, 2_000_000, 'the time of the removal')
  await again.close()
})

t.test('a synced directory has lost what was removed from it while open', { skip }, async (t) => {
  const { directory, model } = await mountModel(t)
  await writeFile(join(directory, 'file'), 'x')
  const [file, above] = await Promise.all([open(join(directory, 'file')), open(directory)])
  const done: string[] = []
  model.fault = async (operation) => {
    if (operation === 'unlink') await pause(20)
    if (operation === 'unlink' || operation === 'fsyncDirectory') done.push(operation)
  }
  await unlink(join(directory, 'file'))
  await above.sync()
  t.same(done, ['unlink', 'fsyncDirectory'])
  await Promise.all([file.close(), above.close()])
})

t.test('a bug in the file system is EIO and a log line, never a hang', { skip }, async (t) => {
  const { directory, model, log } = await mountModel(t)
  model.fault = (operation) => {
    if (operation === 'mkdir') throw new TypeError('x is undefined')
  }
  await t.rejects(mkdir(join(directory, 'd')), { code: 'EIO' })
  t.match(log.lines, [{ level: 'error', fields: { operation: 'mkdir', err: /x is undefined/ } }])
  model.fault = (operation) => {
    if (operation === 'read') throw new RangeError('bug when called')
  }
  await writeFile(join(directory, 'f'), 'x')
  await t.rejects(readFile(join(directory, 'f')), { code: 'EIO' })
})

t.test('a hanging file system is ETIMEDOUT at the deadline', { skip }, async (t) => {
  const deadlines = { requestMs: 300, dataMs: 600 }
  const { directory, model, log } = await mountModel(t, { deadlines })
  let answerLate: () => void = () => undefined
  model.fault = (operation) =>
    operation === 'create' ? new Promise((resolve) => (answerLate = resolve)) : undefined
  const started = performance.now()
  await t.rejects(writeFile(join(directory, 'file'), 'x'), { code: 'ETIMEDOUT' })
  t.ok(performance.now() - started < 5_000)
  t.match(log.lines, [{ level: 'error', fields: { operation: 'create', subject: '/file' } }])
  answerLate()
  await pause(50)
  t.equal(model.openFiles, 0, 'a file opened too late is closed again')
})

t.test('why a request failed is logged when the errno does not tell', { skip }, async (t) => {
  const { directory, model, log } = await mountModel(t)
  model.fault = (operation) => {
    if (operation === 'mkdir') throw new DfsError('notAuthentic', 'chunk 7 was forged')
  }
  for (let n = 0; n < 100; n++) await t.rejects(mkdir(join(directory, 'd')), { code: 'EIO' })
  t.match(log.lines[0], {
    fields: { subject: '/d', code: 'notAuthentic', cause: 'chunk 7 was forged' },
  })
  t.ok(log.lines.length < 100, 'at a bounded rate')
  await t.rejects(stat(join(directory, 'none')), { code: 'ENOENT' })
  t.notOk(log.lines.some(({ fields }) => 'code' in fields && fields.code === 'notFound'))
})

t.test('unmounting what nobody uses is clean', { skip }, async (t) => {
  const { directory, mount: live } = await mountModel(t)
  await writeFile(join(directory, 'file'), 'x')
  t.equal(await live.unmount(), 'clean')
  await live.ended
  t.same(await readdir(directory), [])
})

t.test('unmounting from outside is noticed', { skip }, async (t) => {
  const { directory, mount: live } = await mountModel(t)
  t.equal((await run('fusermount3', ['-u', directory])).status, 0)
  await live.ended
  t.equal(await live.unmount(), 'clean', 'and nothing is left to do')
})

t.test('unmounting while in use ends in bounded time', { skip }, async (t) => {
  const { directory, mount: live, model } = await mountModel(t, { busyMs: 300 })
  const user = spawn(
    'bash',
    ['-c', 'cd "$0"; exec 3>file; echo x >&3; echo in; sleep 60', directory],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
  await once(user.stdout, 'data')
  t.ok(model.openFiles > 0)
  const started = performance.now()
  t.equal(await live.unmount(), 'forced')
  t.ok(performance.now() - started < 5_000)
  await live.ended
  t.same(await readdir(directory), [], 'the mount is gone from the tree')
  user.kill('SIGKILL')
})

t.test('unmounting while requests hang ends in bounded time', { skip }, async (t) => {
  const { directory, mount: live, model } = await mountModel(t, { busyMs: 300 })
  model.fault = (operation) => (operation === 'mkdir' ? new Promise(() => undefined) : undefined)
  const hanging = mkdir(join(directory, 'd'))
  const refused = t.rejects(hanging, { code: 'ENOTCONN' })
  await pause(100)
  const started = performance.now()
  t.equal(await live.unmount(), 'forced')
  t.ok(performance.now() - started < 8_000)
  await refused
})

t.test('a bad mount point is refused with its reason', { skip }, async (t) => {
  const log = new MemoryLog()
  const model = new ModelFileSystem()
  const base = t.testdir({ full: { file: '' }, file: '' })
  const refused = (directory: string, code: string, message: RegExp): Promise<unknown> =>
    t.rejects(mount(model, { directory, log }), { code, message })
  await refused(join(base, 'none'), 'notFound', /no such directory/)
  await refused(join(base, 'file'), 'notDirectory', /not a directory/)
  await refused(join(base, 'full'), 'notEmpty', /is not empty/)
  await refused('/', 'invalidArgument', /cannot be/)
  await refused('/proc', 'exists', /type proc is mounted/)
  const { directory } = await mountModel(t)
  await refused(directory, 'exists', /mounted there already/)
  await symlink(directory, join(base, 'link'))
  await refused(join(base, 'link'), 'exists', /mounted there already/)
})

t.test('a mount left by a killed process is cleaned up', { skip }, async (t) => {
  const directory = temporaryDirectory(t)
  const victim = spawn(process.execPath, [
    '--input-type=module',
    '-e',
    `import { mount } from ${JSON.stringify(new URL('../../mount/fuse/mount.js', import.meta.url).href)}
     import { ModelFileSystem } from ${JSON.stringify(new URL('../support/model-file-system.js', import.meta.url).href)}
     const log = { debug() {}, info() {}, warn() {}, error() {} }
     await mount(new ModelFileSystem(), { directory: ${JSON.stringify(directory)}, log })
     console.log('up')`,
  ])
  await once(victim.stdout, 'data')
  victim.kill('SIGKILL')
  await once(victim, 'exit')
  await t.rejects(lstat(directory), { code: 'ENOTCONN' })
  const live = await mount(new ModelFileSystem(), { directory, log: new MemoryLog() })
  await writeFile(join(directory, 'file'), 'x')
  await live.unmount()
})

t.test(
  'more writes at once than there is memory for wait, and cost nothing',
  { skip },
  async (t) => {
    const { directory, model } = await mountModel(t)
    let pass = (): void => undefined
    const gate = new Promise<void>((resolve) => {
      pass = resolve
    })
    const seen = { writes: 0 }
    model.fault = async (operation) => {
      if (operation !== 'write') return
      seen.writes++
      await gate
    }
    const writers = Array.from(
      { length: 80 },
      (_, n) => `printf %05d ${n} | dd of=${n} status=none &`,
    ).join(' ')
    const written = shell(directory, `${writers} wait`)
    while (seen.writes < 48) await pause(20)
    await pause(300)
    t.equal(seen.writes, 48, 'the rest waits in the kernel')
    const before = process.cpuUsage()
    await pause(500)
    const { user, system } = process.cpuUsage(before)
    t.ok(user + system < 250_000, 'nothing runs in circles meanwhile')
    pass()
    await written
    const contents = await Promise.all(
      (await readdir(directory)).map(async (name) => {
        const content = await readFile(join(directory, name), 'utf8')
        return Number(content) === Number(name)
      }),
    )
    t.equal(contents.filter((right) => right).length, 80)
  },
)
