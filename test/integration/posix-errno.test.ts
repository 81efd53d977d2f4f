/**
 * What is refused, and with which errno: a table of calls on a mount of a real cluster and on a local
 * disk in lock-step, so that the expectations are the kernel's.
 */
import { join } from 'node:path'
import t from 'tap'
import { noMounts, startCluster } from '../support/cluster.ts'
import { foldersOf, mountAgain, noPython, python, sameOnBoth } from '../support/lockstep.ts'

const reason = noMounts() ?? noPython()
const notRoot = process.getuid?.() === 0 ? false : 'only root can become another user'
t.setTimeout(240_000)

/** What the calls work on. */
const TREE = `
os.umask(0o022)
write('file', 'content'); os.mkdir('dir'); os.mkdir('dir/sub'); write('dir/sub/file')
os.mkdir('empty'); os.mkdir('other')
os.symlink('file', 'link'); os.symlink('dir', 'dirlink'); os.symlink('nothing', 'dangling')
os.symlink('loop2', 'loop1'); os.symlink('loop1', 'loop2')
for n in range(42): os.symlink('file' if n == 0 else f'chain{n - 1}', f'chain{n}')
os.mkfifo('pipe'); write('victim')
n255, n256 = 'n' * 255, 'n' * 256
`

const REFUSALS = `
tell('stat of nothing', lambda: os.stat('nothing'))
tell('stat below nothing', lambda: os.stat('nothing/x'))
tell('stat below a file', lambda: os.stat('file/x'))
tell('stat with a slash', lambda: os.stat('file/'))
tell('stat of an empty path', lambda: os.stat(''))
tell('stat of a loop', lambda: os.stat('loop1'))
tell('stat below a loop', lambda: os.stat('loop1/x'))
tell('40 links', lambda: os.stat('chain39').st_size)
tell('41 links', lambda: os.stat('chain40'))
tell('a dangling link', lambda: os.stat('dangling'))
tell('255 bytes', lambda: os.stat(n255))
tell('256 bytes', lambda: os.stat(n256))
tell('a path of 4096', lambda: os.stat('./' * 2050 + 'file'))
for name, path in ('nothing', 'nothing/x'), ('a file', 'file/x'), ('256', n256), ('a loop', 'loop1/x'), ('an empty path', ''):
    tell('open below ' + name, lambda: opened(path, os.O_RDONLY))
    tell('create below ' + name, lambda: opened(path, os.O_WRONLY | os.O_CREAT))
    tell('mkdir below ' + name, lambda: os.mkdir(path))
    tell('mkfifo below ' + name, lambda: os.mkfifo(path))
    tell('symlink below ' + name, lambda: os.symlink('t', path))
    tell('link below ' + name, lambda: os.link('file', path))
    tell('link from below ' + name, lambda: os.link(path, 'new'))
    tell('rename to below ' + name, lambda: os.rename('victim', path))
    tell('rename from below ' + name, lambda: os.rename(path, 'new'))
    tell('unlink below ' + name, lambda: os.unlink(path))
    tell('rmdir below ' + name, lambda: os.rmdir(path))
    tell('chmod below ' + name, lambda: os.chmod(path, 0o600))
    tell('chown below ' + name, lambda: os.chown(path, 0, 0))
    tell('truncate below ' + name, lambda: os.truncate(path, 0))
    tell('utimes below ' + name, lambda: os.utime(path, (1, 1)))
    tell('readlink below ' + name, lambda: os.readlink(path))
    tell('access below ' + name, lambda: os.access(path, os.F_OK))
    tell('list below ' + name, lambda: os.listdir(path))
for kind in 'file', 'dir', 'empty', 'link', 'dangling', 'pipe', 'loop1':
    tell('mkdir over ' + kind, lambda: os.mkdir(kind))
    tell('mkfifo over ' + kind, lambda: os.mkfifo(kind))
    tell('symlink over ' + kind, lambda: os.symlink('x', kind))
    tell('link over ' + kind, lambda: os.link('file', kind))
    tell('O_EXCL over ' + kind, lambda: opened(kind, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    tell('readlink of ' + kind, lambda: os.readlink(kind))
    tell('O_NOFOLLOW of ' + kind, lambda: opened(kind, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
    tell('O_DIRECTORY of ' + kind, lambda: opened(kind, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK))
    tell('list of ' + kind, lambda: os.listdir(kind) and 'entries')
tell('open a directory to write', lambda: opened('dir', os.O_WRONLY))
tell('O_CREAT a directory', lambda: opened('dir', os.O_RDONLY | os.O_CREAT))
tell('O_TRUNC a directory', lambda: opened('dir', os.O_WRONLY | os.O_TRUNC))
tell('create with a slash', lambda: opened('new/', os.O_WRONLY | os.O_CREAT))
tell('read a directory', lambda: os.read(os.open('dir', os.O_RDONLY), 10))
tell('truncate a directory', lambda: os.truncate('dir', 0))
tell('truncate below 0', lambda: os.truncate('file', -1))
tell('truncate a pipe', lambda: os.truncate('pipe', 0))
tell('ftruncate for reading', lambda: os.ftruncate(os.open('file', os.O_RDONLY), 0))
tell('write for reading', lambda: os.write(os.open('file', os.O_RDONLY), b'x'))
tell('read for writing', lambda: os.read(os.open('file', os.O_WRONLY), 1))
tell('pread below 0', lambda: os.pread(os.open('file', os.O_RDONLY), 1, -1))
tell('seek below 0', lambda: os.lseek(os.open('file', os.O_RDONLY), -1, os.SEEK_SET))
tell('unlink a directory', lambda: os.unlink('dir'))
tell('unlink an empty directory', lambda: os.unlink('empty'))
tell('unlink with a slash', lambda: os.unlink('file/'))
tell('rmdir a file', lambda: os.rmdir('file'))
tell('rmdir a link', lambda: os.rmdir('dirlink'))
tell('rmdir not empty', lambda: os.rmdir('dir'))
tell('rmdir of .', lambda: os.rmdir('empty/.'))
tell('rmdir of ..', lambda: os.rmdir('dir/sub/..'))
tell('link to a directory', lambda: os.link('dir', 'new'))
tell('link to nothing', lambda: os.link('nothing', 'new'))
tell('rename nothing', lambda: os.rename('nothing', 'new'))
tell('rename a file over a directory', lambda: os.rename('victim', 'empty'))
tell('rename a directory over a file', lambda: os.rename('empty', 'victim'))
tell('rename over a full directory', lambda: os.rename('empty', 'dir'))
tell('rename into itself', lambda: os.rename('dir', 'dir/sub/new'))
tell('rename to its child', lambda: os.rename('dir', 'dir/sub'))
tell('rename over its parent', lambda: os.rename('dir/sub', 'dir'))
tell('rename of .', lambda: os.rename('dir/.', 'new'))
tell('rename of ..', lambda: os.rename('dir/sub/..', 'new'))
tell('rename a file with a slash', lambda: os.rename('victim', 'new/'))
tell('rename to itself', lambda: os.rename('victim', 'victim'))
tell('rename over a directory', lambda: os.rename('other', 'empty'))
tell('symlink to nothing', lambda: os.symlink('', 'new'))
tell('symlink of 4096', lambda: os.symlink('t' * 4096, 'new'))
tell('symlink of 4095', lambda: os.symlink('t' * 4095, 'long'))
tell('open of a long link', lambda: opened('long', os.O_RDONLY))
write('/dev/shm/dfs-elsewhere-%d' % os.getpid()); elsewhere = '/dev/shm/dfs-elsewhere-%d' % os.getpid()
tell('rename from elsewhere', lambda: os.rename(elsewhere, 'new'))
tell('rename to elsewhere', lambda: os.rename('victim', elsewhere))
tell('link from elsewhere', lambda: os.link(elsewhere, 'new'))
os.unlink(elsewhere)
tell('open a pipe that nobody reads', lambda: opened('pipe', os.O_WRONLY | os.O_NONBLOCK))
s = socket.socket(socket.AF_UNIX); s.bind('socket'); s.close()
tell('open a socket', lambda: opened('socket', os.O_RDONLY))
tell('execute data', lambda: os.execv('./file', ['file']))
os.system('cp /bin/sleep program'); os.chmod('program', 0o755)
fd = os.open('program', os.O_RDWR)
tell('execute what is being written', lambda: os.posix_spawn('./program', ['program', '0'], {}))
os.close(fd)
pid = os.posix_spawn('./program', ['program', '30'], {}); time.sleep(0.3)
tell('write what is being executed', lambda: opened('program', os.O_WRONLY))
tell('truncate what is being executed', lambda: os.truncate('program', 0))
os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
tell('afterwards', lambda: os.listdir('.'))
`

const OTHERS = `
os.umask(0)
for path, bits in ('private', 0o600), ('public', 0o644), ('writable', 0o666), ('runs', 0o711):
    write(path, '#!/bin/sh\\n'); os.chmod(path, bits)
for path, bits in ('closed', 0o700), ('readable', 0o744), ('open', 0o755), ('box', 0o777), ('sticky', 0o1777), ('groups', 0o2777):
    os.mkdir(path); os.chmod(path, bits); write(path + '/file'); os.chmod(path + '/file', 0o666)
write('box/mine'); os.chown('box/mine', 65534, 65534); os.chmod('box/mine', 0o644)
write('sticky/mine'); os.chown('sticky/mine', 65534, 65534)
os.chown('groups', 0, 1234)
IDS = {'id-write': 0o6777, 'id-truncate': 0o6777, 'id-open': 0o6777, 'id-append': 0o4766, 'id-map': 0o6777, 'id-group': 0o2757, 'id-root': 0o6777}
for path, bits in IDS.items(): write(path, 'x' * 10); os.chmod(path, bits)
def mapped(path):
    with mmap.mmap(os.open(path, os.O_RDWR), 10) as m: m[0:1] = b'y'; m.flush()
CHANGES = {
    'id-write': lambda: os.pwrite(os.open('id-write', os.O_RDWR), b'y', 0), 'id-truncate': lambda: os.truncate('id-truncate', 3),
    'id-open': lambda: opened('id-open', os.O_WRONLY | os.O_TRUNC), 'id-append': lambda: os.write(os.open('id-append', os.O_WRONLY | os.O_APPEND), b'y'),
    'id-map': lambda: mapped('id-map'), 'id-group': lambda: os.pwrite(os.open('id-group', os.O_RDWR), b'y', 0),
}
def calls():
    for path, change in CHANGES.items(): tell('set-id ' + path, change); tell('then', lambda: mode(path))
    for path in 'private', 'public', 'writable', 'runs', 'closed/file', 'readable/file', 'open/file':
        tell('read ' + path, lambda: read(path))
        tell('write ' + path, lambda: opened(path, os.O_WRONLY))
        tell('truncate ' + path, lambda: os.truncate(path, 3))
        tell('chmod ' + path, lambda: os.chmod(path, 0o777))
        tell('chown ' + path, lambda: os.chown(path, 65534, 65534))
        tell('now ' + path, lambda: os.utime(path))
        tell('times ' + path, lambda: os.utime(path, (1, 1)))
        tell('stat ' + path, lambda: mode(path))
        tell('access ' + path, lambda: [os.access(path, bit) for bit in (os.R_OK, os.W_OK, os.X_OK)])
        tell('xattr ' + path, lambda: os.setxattr(path, 'user.x', b'1'))
        tell('get xattr ' + path, lambda: os.getxattr(path, 'user.x'))
        tell('trusted ' + path, lambda: os.setxattr(path, 'trusted.x', b'1'))
    for path in 'closed', 'readable', 'open':
        tell('list ' + path, lambda: os.listdir(path))
        tell('create in ' + path, lambda: write(path + '/new'))
        tell('mkdir in ' + path, lambda: os.mkdir(path + '/newdir'))
        tell('symlink in ' + path, lambda: os.symlink('x', path + '/newlink'))
        tell('link into ' + path, lambda: os.link('public', path + '/newname'))
        tell('mkfifo in ' + path, lambda: os.mkfifo(path + '/newpipe'))
        tell('unlink in ' + path, lambda: os.unlink(path + '/file'))
        tell('rename in ' + path, lambda: os.rename(path + '/file', path + '/x'))
        tell('rename out of ' + path, lambda: os.rename(path + '/file', 'box/x'))
        tell('rmdir of ' + path, lambda: os.rmdir(path))
    tell('sticky: unlink', lambda: os.unlink('sticky/file'))
    tell('sticky: rename', lambda: os.rename('sticky/file', 'sticky/x'))
    tell('sticky: unlink own', lambda: os.unlink('sticky/mine'))
    tell('box: chmod own', lambda: os.chmod('box/mine', 0o4755))
    tell('box: mode', lambda: mode('box/mine'))
    tell('box: give away', lambda: os.chown('box/mine', 0, -1))
    tell('box: foreign group', lambda: os.chown('box/mine', -1, 0))
    tell('box: own group', lambda: os.chown('box/mine', -1, 65534))
    tell('box: mode after chown', lambda: mode('box/mine'))
    tell('box: unlink', lambda: os.unlink('box/file'))
    tell('box: device', lambda: os.mknod('box/null', 0o666 | stat.S_IFCHR, os.makedev(1, 3)))
    for folder in 'box', 'sticky', 'groups':
        write(folder + '/a'); os.mkdir(folder + '/b'); os.symlink('x', folder + '/c')
        os.mkfifo(folder + '/d'); os.mknod(folder + '/e', 0o600 | stat.S_IFREG)
        os.link(folder + '/a', folder + '/f')
        for name in 'abcdef': tell('made in ' + folder, lambda: owned(folder + '/' + name))
        tell('read own', lambda: read(folder + '/a'))
        tell('chmod own', lambda: os.chmod(folder + '/a', 0o400))
        tell('own, read-only', lambda: opened(folder + '/a', os.O_WRONLY))
        tell('below', lambda: write(folder + '/b/file') or owned(folder + '/b/file'))
        tell('unlink own', lambda: os.unlink(folder + '/e'))
        tell('rename own', lambda: os.rename(folder + '/b', folder + '/g'))
def owned(path):
    s = os.lstat(path)
    return (s.st_uid, s.st_gid, oct(s.st_mode))
as_nobody(calls)
for path in CHANGES: tell('still ' + path, lambda: mode(path))
tell('root writes', lambda: os.pwrite(os.open('id-root', os.O_RDWR), b'y', 0)); tell('and keeps them', lambda: mode('id-root'))
tell('root gives away', lambda: os.chown('id-root', 1, 1)); tell('and not then', lambda: mode('id-root'))
tell('root above it', lambda: os.mkdir('groups/of-root') or owned('groups/of-root'))
tell('root in it', lambda: write('groups/of-root/file') or owned('groups/of-root/file'))
`

const skip = reason ?? false
t.test('refusals have the errno of a local disk', { skip }, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '1', '--racks', '1', '--replicas', '1')
  const at = foldersOf(t, cluster)

  await t.test('paths, names, kinds', async (t) => {
    sameOnBoth(t, at('refusals'), TREE + REFUSALS, 200)
  })

  await t.test('what belongs to others', { skip: notRoot }, async (t) => {
    const { local: here } = at('others')
    const everybody = mountAgain(t, cluster, '--allow-other')
    sameOnBoth(t, { local: here, mount: join(everybody, 'others') }, OTHERS, 180)
  })

  await t.test('a read-only mount refuses every change, and reads', async (t) => {
    const directory = mountAgain(t, cluster, '--read-only')
    const lines = python(
      join(directory, 'refusals'),
      `
for what, call in {
    'open': lambda: opened('file', os.O_WRONLY), 'create': lambda: opened('new', os.O_CREAT),
    'truncate': lambda: os.truncate('file', 0), 'mkdir': lambda: os.mkdir('new'),
    'mkfifo': lambda: os.mkfifo('new'), 'symlink': lambda: os.symlink('x', 'new'),
    'link': lambda: os.link('file', 'new'), 'rename': lambda: os.rename('file', 'new'),
    'unlink': lambda: os.unlink('file'), 'rmdir': lambda: os.rmdir('empty'),
    'chmod': lambda: os.chmod('file', 0o600), 'chown': lambda: os.chown('file', 1, 1),
    'utime': lambda: os.utime('file', (1, 1)), 'setxattr': lambda: os.setxattr('file', 'user.a', b''),
}.items(): tell(what, call)
tell('read', lambda: read('file'))
`,
    )
    t.equal(lines.pop(), "read -> b'content'")
    t.equal(lines.length, 14)
    for (const line of lines) t.match(line, /-> EROFS$/, line)
  })
})
