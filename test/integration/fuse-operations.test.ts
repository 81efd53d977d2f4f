/**
 * Each operation through a real mount: system calls and everyday tools on one side, a model of a file
 * system on the other.
 */
import { constants } from 'node:fs'
import { randomBytes } from 'node:crypto'
import {
  access,
  appendFile,
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { constants as os } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { DfsError } from '../../schema/wire/status.ts'
import { mountModel, noFuse, run, shell } from '../support/fuse-mount.ts'

const skip = noFuse() ?? false

t.test('files are made, written, read and removed', { skip }, async (t) => {
  const { directory, model } = await mountModel(t)
  const file = join(directory, 'file')
  const bytes = randomBytes(3_000_001)
  await writeFile(file, bytes)
  t.ok(bytes.equals(await readFile(file)), 'what was written is read')
  t.equal(Math.max(...model.writeSizes), 524_288, 'the kernel sends as much as Node writes at once')
  await appendFile(file, 'more')
  t.equal((await stat(file)).size, bytes.length + 4, 'appended')
  t.equal((await stat(file)).nlink, 1)
  await unlink(file)
  await t.rejects(stat(file), { code: 'ENOENT' })
  await shell(directory, 'sleep 0.05')
  t.equal(model.openFiles, 0, 'nothing stays open')
})

t.test('open flags mean what they say', { skip }, async (t) => {
  const { directory } = await mountModel(t)
  const file = join(directory, 'file')
  await writeFile(file, 'hello')
  await t.rejects(open(file, 'wx'), { code: 'EEXIST' }, 'O_EXCL')
  await (await open(file, 'r+')).close()
  t.equal((await stat(file)).size, 5, 'r+ keeps')
  await (await open(file, 'w')).close()
  t.equal((await stat(file)).size, 0, 'w empties')
  await shell(directory, 'for i in 1 2 3; do echo $i >> file; done')
  t.equal(await readFile(file, 'utf8'), '1\n2\n3\n')
  const handle = await open(file, 'r+')
  await handle.write('X', 2)
  await handle.truncate(3)
  await handle.sync()
  await handle.datasync()
  t.equal((await handle.stat()).size, 3)
  await handle.close()
  t.equal(await readFile(file, 'utf8'), '1\nX')
})

t.test('files are sparse and larger than 4 GiB', { skip }, async (t) => {
  const { directory } = await mountModel(t)
  const file = join(directory, 'big')
  const size = 5 * 1024 ** 3 + 7
  await shell(directory, `truncate -s ${size} big`)
  const handle = await open(file, 'r+')
  await handle.write('tail', size - 4)
  await handle.close()
  const reader = await open(file, 'r')
  const { buffer } = await reader.read(Buffer.alloc(10), 0, 10, size - 10)
  t.equal(buffer.toString('latin1'), '\0\0\0\0\0\0tail')
  await reader.close()
  const { size: seen, blocks } = await stat(file)
  t.equal(seen, size)
  t.ok(blocks * 512 < 1024 ** 2, 'holes take no space')
  await truncate(file, 3)
  t.equal((await stat(file)).size, 3)
})

t.test('directories are made, listed, moved and removed', { skip }, async (t) => {
  const { directory } = await mountModel(t)
  await mkdir(join(directory, 'a/b/c'), { recursive: true })
  await writeFile(join(directory, 'a/b/c/file'), 'x')
  t.equal((await stat(join(directory, 'a'))).nlink, 3)
  await t.rejects(rmdir(join(directory, 'a')), { code: 'ENOTEMPTY' })
  await t.rejects(mkdir(join(directory, 'a')), { code: 'EEXIST' })
  await t.rejects(readdir(join(directory, 'a/b/c/file')), { code: 'ENOTDIR' })
  await t.rejects(stat(join(directory, 'a/b/c/file/x')), { code: 'ENOTDIR' })
  await rename(join(directory, 'a/b'), join(directory, 'moved'))
  t.equal(await readFile(join(directory, 'moved/c/file'), 'utf8'), 'x')
  await t.rejects(rename(join(directory, 'moved'), join(directory, 'moved/c/in')), {
    code: 'EINVAL',
  })
  const entries = await readdir(directory, { withFileTypes: true })
  t.same(
    entries.map((entry) => [entry.name, entry.isDirectory()]),
    [
      ['a', true],
      ['moved', true],
    ],
    'listing tells the type',
  )
  t.match(await shell(directory, 'ls -lai'), / \.\.\n/, 'with . and ..')
  t.equal(await shell(directory, 'find . -name file'), './moved/c/file')
  await rm(directory + '/moved', { recursive: true })
})

t.test('links of both kinds, pipes and sockets', { skip }, async (t) => {
  const { directory } = await mountModel(t)
  const file = join(directory, 'file')
  await writeFile(file, 'x')
  await link(file, join(directory, 'hard'))
  const [one, other] = await Promise.all([stat(file), stat(join(directory, 'hard'))])
  t.equal(one.ino, other.ino, 'one inode')
  t.equal(one.nlink, 2)
  await symlink('file', join(directory, 'soft'))
  t.equal(await readlink(join(directory, 'soft')), 'file')
  t.equal(await readFile(join(directory, 'soft'), 'utf8'), 'x')
  t.ok((await lstat(join(directory, 'soft'))).isSymbolicLink())
  const long = 'd/'.repeat(2_000) + 'e'
  await symlink(long, join(directory, 'long'))
  t.equal(await readlink(join(directory, 'long')), long)
  await shell(directory, 'mkfifo pipe; (echo through > pipe &) ; cat pipe > got; mknod made p')
  t.equal(await readFile(join(directory, 'got'), 'utf8'), 'through\n')
  t.ok((await lstat(join(directory, 'pipe'))).isFIFO())
})

t.test('modes, owners and times are kept', { skip }, async (t) => {
  const { directory } = await mountModel(t)
  const file = join(directory, 'file')
  await writeFile(file, 'x', { mode: 0o640 })
  const made = await stat(file)
  t.equal(made.mode & 0o7777, 0o640)
  t.equal(made.uid, process.getuid?.())
  t.equal(made.gid, process.getgid?.())
  await chmod(file, 0o4755)
  t.equal((await stat(file)).mode & 0o7777, 0o4755)
  await utimes(file, 1_000_000_000.123, 1_600_000_000.456)
  const dated = await stat(file)
  t.equal(dated.atimeMs, 1_000_000_000_123)
  t.equal(dated.mtimeMs, 1_600_000_000_456, 'a time of its own, not that of access')
  await shell(directory, 'touch -d "2020-02-03 04:05:06.789 UTC" file; cp -p file copy')
  t.equal((await stat(file)).mtimeMs, Date.UTC(2020, 1, 3, 4, 5, 6, 789))
  t.equal((await stat(join(directory, 'copy'))).mtimeMs, Date.UTC(2020, 1, 3, 4, 5, 6, 789))
  const isRoot = process.getuid?.() === 0
  await chown(file, isRoot ? 7 : made.uid, isRoot ? 8 : made.gid)
  const owned = await stat(file)
  t.same([owned.uid, owned.gid], isRoot ? [7, 8] : [made.uid, made.gid])
  await shell(directory, `chgrp ${isRoot ? 9 : made.gid} file`)
  t.equal((await stat(file)).uid, isRoot ? 7 : made.uid, 'chgrp leaves the owner')
  await access(file, constants.R_OK)
})

t.test('the size of the store is told, however large', { skip }, async (t) => {
  const { directory } = await mountModel(t)
  const { bsize, blocks, bavail } = await statfs(directory)
  t.equal(bsize, 131_072)
  const line = await shell(directory, 'df -B1 --output=size,avail . | tail -1')
  const [size, free] = line.trim().split(/\s+/).map(Number)
  t.ok(Math.abs((size ?? 0) / 640e12 - 1) < 0.001, `${size} bytes`)
  t.ok(Math.abs((free ?? 0) / 320e12 - 1) < 0.001, `${free} bytes`)
  t.ok(blocks > bavail)
})

t.test('a tree goes in and out unchanged', { skip }, async (t) => {
  const { directory } = await mountModel(t)
  const source = t.testdir({
    tree: { a: 'a', deep: { b: 'b'.repeat(200_000), empty: '' }, none: {} },
  })
  await shell(directory, `cp -r ${source}/tree in; diff -r ${source}/tree in`)
  await shell(directory, 'mv in/deep moved; dd if=moved/b of=half bs=64k count=1 conv=notrunc')
  t.equal((await stat(join(directory, 'half'))).size, 65_536)
  await shell(directory, 'tar cf t.tar moved; mkdir x; tar xf t.tar -C x; diff -r moved x/moved')
})

t.test('one time is set without the other', { skip }, async (t) => {
  const { directory, log } = await mountModel(t)
  const times = async (): Promise<unknown> => {
    const { atimeMs, mtimeMs } = await stat(join(directory, 'f'))
    return [atimeMs, mtimeMs]
  }
  await shell(directory, 'touch -d "2001-01-01 UTC" f; tar cf t.tar f; rm f; tar xf t.tar')
  t.equal((await stat(join(directory, 'f'))).mtimeMs, Date.UTC(2001, 0, 1), 'by tar')
  await shell(directory, 'touch -d "2002-02-02 UTC" f; touch -m -d "2003-03-03 UTC" f')
  t.same(await times(), [Date.UTC(2002, 1, 2), Date.UTC(2003, 2, 3)])
  await shell(directory, 'touch -a -d "2004-04-04 UTC" f')
  t.same(await times(), [Date.UTC(2004, 3, 4), Date.UTC(2003, 2, 3)])
  await shell(directory, 'touch f')
  t.ok(Math.abs((await stat(join(directory, 'f'))).mtimeMs - Date.now()) < 5_000, 'now')
  t.same(log.lines, [])
})

t.test('a directory of 20,000 entries is listed in full', { skip }, async (t) => {
  const { directory, model } = await mountModel(t)
  for (let n = 0; n < 20_000; n++) {
    await model.mknod(`/entry-${n}-${'n'.repeat(n % 200)}`, constants.S_IFIFO, 0, {
      uid: 0,
      gid: 0,
    })
  }
  const names = await readdir(directory)
  t.equal(names.length, 20_000)
  t.equal(new Set(names).size, 20_000)
})

t.test('names: 255 bytes, any text, and what is no text', { skip }, async (t) => {
  const { directory } = await mountModel(t)
  const names = ['ä'.repeat(127), 'line\nbreak', ' ', '日本語', '\u{1F600}', 'back\\slash', '-rf']
  for (const name of names) await writeFile(join(directory, name), name)
  t.same((await readdir(directory)).sort(), names.sort())
  for (const name of names) t.equal(await readFile(join(directory, name), 'utf8'), name)
  await t.rejects(writeFile(join(directory, 'n'.repeat(256)), ''), { code: 'ENAMETOOLONG' })
  const inDirectory = (name: Buffer): Buffer => Buffer.concat([Buffer.from(`${directory}/`), name])
  const noText = [Buffer.of(0xff), Buffer.of(0xfe), Buffer.of(0x61, 0xc3), Buffer.alloc(255, 0xff)]
  for (const name of noText) await writeFile(inDirectory(name), name)
  const listed = await readdir(directory, { encoding: 'buffer' })
  const all = [...names.map((name) => Buffer.from(name)), ...noText]
  const sorted = (some: Buffer[]): Buffer[] => some.sort((a, b) => Buffer.compare(a, b))
  t.same(sorted(listed), sorted(all))
  for (const name of noText) t.same(await readFile(inDirectory(name)), name)
  const long = inDirectory(Buffer.alloc(256, 0xff))
  await t.rejects(writeFile(long, ''), { code: 'ENAMETOOLONG' })
  await symlink(Buffer.of(0x2e, 0x2f, 0xff), inDirectory(Buffer.of(0x80)))
  const target = await readlink(inDirectory(Buffer.of(0x80)), { encoding: 'buffer' })
  t.same(target, Buffer.of(0x2e, 0x2f, 0xff))
  t.same(await readFile(inDirectory(Buffer.of(0x80))), Buffer.of(0xff))
})

t.test('every status reaches the application as its errno', { skip }, async (t) => {
  const { directory, model } = await mountModel(t)
  await writeFile(join(directory, 'file'), 'x')
  const cases = [
    ['noSpace', 'ENOSPC'],
    ['quotaExceeded', 'EDQUOT'],
    ['notAuthentic', 'EIO'],
    ['deadlineExceeded', 'ETIMEDOUT'],
    ['readOnly', 'EROFS'],
    ['connectionRefused', 'EHOSTUNREACH'],
    ['tooManyLinks', 'EMLINK'],
  ] as const
  for (const [code, errno] of cases) {
    model.fault = (operation) => {
      if (operation === 'link') throw new DfsError(code, `no link: ${code}`)
    }
    const refused = link(join(directory, 'file'), join(directory, 'new'))
    // By number: Node has no name for EDQUOT.
    const error = await refused.then(
      () => undefined,
      (reason: unknown) => reason,
    )
    t.match(error, { errno: -os.errno[errno] }, errno)
  }
})

t.test('a read-only mount refuses changes', { skip }, async (t) => {
  const { directory } = await mountModel(t, { readOnly: true })
  await t.rejects(writeFile(join(directory, 'file'), ''), { code: 'EROFS' })
  t.same(await readdir(directory), [])
})

const notRoot = process.getuid?.() === 0 ? false : 'only root can become another user'
const skipOther = skip === false ? notRoot : skip
t.test('the kernel checks permissions for others', { skip: skipOther }, async (t) => {
  const { directory } = await mountModel(t, { allowOther: true })
  await writeFile(join(directory, 'secret'), 'x', { mode: 0o600 })
  await writeFile(join(directory, 'public'), 'y', { mode: 0o644 })
  await chmod(directory, 0o755)
  const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', 'sh', '-c']
  const asNobody = (line: string): ReturnType<typeof run> =>
    run('setpriv', [...nobody, `cd "$0"; ${line}`, directory])
  t.equal((await asNobody('cat public')).stdout, 'y')
  t.match((await asNobody('cat secret')).stderr, /Permission denied/)
  t.match((await asNobody('echo > new')).stderr, /Permission denied/)
})

t.test('what many users make at once belongs to each of them', { skip: skipOther }, async (t) => {
  const { directory } = await mountModel(t, { allowOther: true })
  await chmod(directory, 0o777)
  const ids = Array.from({ length: 12 }, (_, index) => 60_000 + index)
  const line = 'cd "$0"; for n in $(seq 20); do : > $1-f$n; mkdir $1-d$n; ln -s x $1-l$n; done'
  const made = await Promise.all(
    ids.map(async (id) =>
      run('setpriv', [
        `--reuid=${id}`,
        `--regid=${id + 1_000}`,
        '--clear-groups',
        'sh',
        '-c',
        line,
        directory,
        String(id),
      ]),
    ),
  )
  t.same(
    made.map(({ stderr }) => stderr),
    ids.map(() => ''),
  )
  const names = await readdir(directory)
  t.equal(names.length, ids.length * 60)
  for (const name of names) {
    const { uid, gid } = await lstat(join(directory, name))
    const id = Number(name.split('-')[0])
    if (uid !== id || gid !== id + 1_000) t.fail(`${name} belongs to ${uid}:${gid}`)
  }
})
