/**
 * Extended attributes through a mount of a real cluster: the same calls on the mount and on a local
 * directory must have the same results and errno; and what tar and cp make of them.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { noMounts, run, startCluster } from '../support/cluster.ts'
import { localDirectory, python, sameOnBoth } from '../support/lockstep.ts'

const reason = noMounts() ?? noXattrs()
t.setTimeout(180_000)

/** Prints what each call does, one line each, in the directory it is started in. */
const CALLS = `
def get(name, path='f'): return lambda: os.getxattr(path, name)
def put(name, value, flags=0, path='f'): return lambda: os.setxattr(path, name, value, flags)
open('f', 'w').write('content'); os.mkdir('d')
tell('none', get('user.a'))
tell('list none', lambda: os.listxattr('f'))
tell('set', put('user.a', b'one'))
tell('get', get('user.a'))
tell('create again', put('user.a', b'two', os.XATTR_CREATE))
tell('replace', put('user.a', b'two', os.XATTR_REPLACE))
tell('replace what is not there', put('user.b', b'x', os.XATTR_REPLACE))
tell('create', put('user.b', bytes(range(256)), os.XATTR_CREATE))
tell('empty', put('user.empty', b''))
tell('get empty', get('user.empty'))
tell('longest name', put('user.' + 'n' * 250, b'x'))
tell('name too long', put('user.' + 'n' * 251, b'x'))
tell('value too long', put('user.c', b'x' * 65537))
tell('unicode', put('user.\\u00e4\\u65e5', 'ü'.encode()))
tell('binary', get('user.b'))
tell('list', lambda: os.listxattr('f'))
tell('a directory', put('user.d', b'dir', 0, 'd'))
tell('list a directory', lambda: os.listxattr('d'))
tell('remove', lambda: os.removexattr('f', 'user.a'))
tell('remove again', lambda: os.removexattr('f', 'user.a'))
tell('trusted', put('trusted.t', b'root'))
tell('get trusted', get('trusted.t'))
tell('of no file', get('user.a', 'nothing'))
tell('unknown space', put('nonsense.a', b'x'))
tell('get unknown space', get('nonsense.a'))
os.symlink('f', 's')
tell('of a link', lambda: os.setxattr('s', 'user.s', b'x', follow_symlinks=False))
tell('through a link', put('user.s', b'x', 0, 's'))
os.mkfifo('p')
tell('of a pipe', put('user.p', b'x', 0, 'p'))
os.link('f', 'h')
tell('by another name', lambda: os.listxattr('h'))
fd = os.open('f', os.O_RDWR)
tell('by descriptor', lambda: os.setxattr(fd, 'user.fd', b'1'))
os.write(fd, b'written')
tell('with unsaved data', lambda: os.setxattr(fd, 'user.fd', b'2'))
os.close(fd)
tell('content', lambda: open('f').read())
tell('get by name', get('user.fd'))
os.rename('f', 'moved')
tell('after a rename', get('user.fd', 'moved'))
open('gone', 'w').write('x'); os.setxattr('gone', 'user.g', b'1')
fd = os.open('gone', os.O_RDWR); os.unlink('gone')
tell('of a removed open file', lambda: os.getxattr(fd, 'user.g'))
tell('set on a removed open file', lambda: os.setxattr(fd, 'user.h', b'2'))
tell('list of a removed open file', lambda: os.listxattr(fd))
os.close(fd)
open('ro', 'w').close(); os.chmod('ro', 0o444)
tell('of a read-only file', put('user.r', b'x', 0, 'ro'))
`

t.test('extended attributes', reason === undefined ? {} : { skip: reason }, async (t) => {
  const cluster = startCluster(t)
  const { mount } = cluster
  const local = localDirectory(t)

  await t.test('every call does what it does on a local disk', async (t) => {
    sameOnBoth(t, { local, mount }, CALLS, 38)
  })

  await t.test('values of 64 KiB are kept; more than that in one file is ENOSPC', async (t) => {
    const script = `
import os, errno
open('big', 'w').close()
value = os.urandom(65536)
os.setxattr('big', 'user.' + 'n' * 250, value)
print(os.getxattr('big', 'user.' + 'n' * 250) == value)
try: os.setxattr('big', 'user.more', b'x' * 1000)
except OSError as e: print(errno.errorcode[e.errno])
print(os.listxattr('big') == ['user.' + 'n' * 250])
`
    t.same(python(mount, script), ['True', 'ENOSPC', 'True'])
  })

  const notRoot = process.getuid?.() === 0 ? false : 'only root may set capabilities'
  await t.test(
    'capabilities, labels and what nobody knows are refused',
    { skip: notRoot },
    async (t) => {
      const script = `
import os, errno, struct
open('plain', 'w').close()
for name in 'security.capability', 'security.selinux', 'system.x':
    for call in (lambda: os.setxattr('plain', name, struct.pack('<5I', 0x2000000, 1, 0, 0, 0)),
                 lambda: os.getxattr('plain', name), lambda: os.removexattr('plain', name)):
        try: call(); print(name, 'done')
        except OSError as e: print(name, errno.errorcode[e.errno])
print(os.listxattr('plain'))
`
      const lines = python(mount, script)
      t.equal(lines.pop(), '[]')
      t.equal(lines.length, 9)
      for (const line of lines) t.match(line, /(EOPNOTSUPP|ENOTSUP)$/, line)
    },
  )

  await t.test('tar and cp -a carry them, ls -l and a second tar find nothing wrong', async (t) => {
    const made = join(local, 'tree')
    const set = `
import os
os.makedirs('tree/sub')
for n in range(20):
    path = f'tree/sub/{n}'
    open(path, 'w').write('x' * n * 1000)
    os.setxattr(path, 'user.number', str(n).encode())
os.setxattr('tree', 'user.on-the-top', b'yes')
`
    const show = `
import os
for base, dirs, files in sorted(os.walk('tree')):
    for path in [base] + [os.path.join(base, f) for f in sorted(files)]:
        print(path, os.stat(path).st_size if path in files else '', {n: os.getxattr(path, n) for n in os.listxattr(path)})
`
    python(local, set)
    const expected = python(local, show)
    run('cp', '-a', made, mount)
    t.same(python(mount, show), expected, 'cp -a onto the mount')
    run('tar', '--xattrs', '-C', mount, '-cf', join(local, 'tree.tar'), 'tree')
    const back = mkdtempSync(join(local, 'back-'))
    run('tar', '--xattrs', '-C', back, '-xf', join(local, 'tree.tar'))
    t.same(python(back, show), expected, 'out with tar')
    rmSync(join(mount, 'tree'), { recursive: true })
    run('tar', '--xattrs', '-C', mount, '-xf', join(local, 'tree.tar'))
    t.same(python(mount, show), expected, 'and in with tar')
    t.equal(readdirSync(join(mount, 'tree/sub')).length, 20)
    t.match(run('ls', '-l', '--color=always', join(mount, 'tree/sub')), /19/)
  })

  await t.test('they outlive everything that runs', async (t) => {
    writeFileSync(join(mount, 'kept'), 'content')
    python(mount, `import os; os.setxattr('kept', 'user.secret-name', b'secret value')`)
    cluster.down()
    cluster.up()
    t.same(python(mount, `import os; print(os.getxattr('kept', 'user.secret-name'))`), [
      "b'secret value'",
    ])
    t.equal(readFileSync(join(mount, 'kept'), 'utf8'), 'content')
  })
})

/** Why there is nothing to make the calls with, or nothing to compare them with. */
function noXattrs(): string | undefined {
  const script = `import os,tempfile; f = tempfile.NamedTemporaryFile(); os.setxattr(f.name, 'user.a', b'')`
  const { status, error } = spawnSync('python3', ['-c', script])
  if (error !== undefined) return 'python3 is not installed'
  return status === 0 ? undefined : 'the folder of temporary files keeps no extended attributes'
}
