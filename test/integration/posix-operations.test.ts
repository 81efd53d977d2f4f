/**
 * What operations do, beyond their errno: on a mount of a real cluster and on a local disk in
 * lock-step; and what two mounts of one tree see of each other.
 */
import {
  appendFileSync,
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { noMounts, startCluster } from '../support/cluster.ts'
import { foldersOf, mountAgain, noPython, python, sameOnBoth } from '../support/lockstep.ts'

const reason = noMounts() ?? noPython()
t.setTimeout(process.env['DFS_TEST_LONG'] === '1' ? 1_200_000 : 280_000)

const NODES = `
def show(path):
    s = os.lstat(path)
    return (oct(s.st_mode), s.st_nlink, s.st_rdev, s.st_size)
for umask in 0, 0o022, 0o077:
    os.umask(umask)
    write('f%o' % umask, mode=0o777); os.mkdir('d%o' % umask); os.mkfifo('p%o' % umask)
    for name in 'f', 'd', 'p': tell('umask %o %s' % (umask, name), lambda: mode(name + '%o' % umask))
os.umask(0)
tell('fifo', lambda: os.mknod('fifo', 0o640 | stat.S_IFIFO)); tell('is', lambda: show('fifo'))
tell('regular', lambda: os.mknod('regular', 0o640 | stat.S_IFREG)); tell('is', lambda: show('regular'))
tell('socket', lambda: os.mknod('sock', 0o640 | stat.S_IFSOCK)); tell('is', lambda: show('sock'))
tell('character device', lambda: os.mknod('null', 0o666 | stat.S_IFCHR, os.makedev(1, 3)))
tell('is', lambda: show('null') if os.path.exists('null') else None)
tell('block device', lambda: os.mknod('block', 0o660 | stat.S_IFBLK, os.makedev(7, 300)))
tell('is', lambda: show('block') if os.path.exists('block') else None)
s = socket.socket(socket.AF_UNIX); s.bind('listening'); s.listen()
c = socket.socket(socket.AF_UNIX)
tell('connect', lambda: c.connect('listening'))
tell('through a pipe', lambda: os.system('echo hello > fifo & cat fifo > got') or read('got'))
for bits in 0o4755, 0o2755, 0o1777, 0o6711, 0o7777, 0:
    os.chmod('regular', bits); tell('mode %o' % bits, lambda: mode('regular'))
    os.chmod('d0', bits); tell('directory %o' % bits, lambda: mode('d0'))
os.chmod('d0', 0o755)
os.chmod('regular', 0o6755); os.chown('regular', 5, 6); tell('chown drops', lambda: mode('regular'))
os.chmod('regular', 0o755); os.chown('regular', -1, 7); tell('one id', lambda: (os.stat('regular').st_uid, os.stat('regular').st_gid))
os.symlink('regular', 'link'); os.lchown('link', 8, 9)
tell('of the link', lambda: (os.lstat('link').st_uid, os.stat('link').st_uid))
tell('link length', lambda: os.lstat('link').st_size)
os.mkdir('l')
for n in range(5): os.mkdir('l/%d' % n); write('l/f%d' % n)
tell('no more than its directories', lambda: os.stat('l').st_nlink)
os.rmdir('l/0'); tell('one less', lambda: os.stat('l').st_nlink)
os.rename('l/1', 'moved'); tell('moved away', lambda: os.stat('l').st_nlink)
for n in range(3): os.link('l/f0', 'hard%d' % n)
tell('names', lambda: os.stat('l/f0').st_nlink)
tell('one inode', lambda: len({os.stat(p).st_ino for p in ('l/f0', 'hard0', 'hard1', 'hard2')}))
ino = os.stat('hard0').st_ino; os.rename('hard0', 'other'); os.chmod('other', 0o600); write('other', 'y')
tell('the number stays', lambda: os.stat('other').st_ino == ino)
os.unlink('l/f0'); tell('one name less', lambda: os.stat('other').st_nlink)
tell('links to links', lambda: os.link('link', 'link2', follow_symlinks=False) or os.readlink('link2'))
`

/** On pages, which is as exact as local disks are. */
const HOLES = `
def parts(fd):
    found, at = [], 0
    try:
        while True:
            start = os.lseek(fd, at, os.SEEK_DATA); at = os.lseek(fd, start, os.SEEK_HOLE); found.append((start, at))
    except OSError as e: return found, errno.errorcode[e.errno]
P = 4096
fd = os.open('holes', os.O_RDWR | os.O_CREAT)
tell('empty', lambda: parts(fd)); tell('its hole', lambda: os.lseek(fd, 0, os.SEEK_HOLE))
os.ftruncate(fd, 100 * P); tell('only a hole', lambda: parts(fd)); tell('at once', lambda: os.lseek(fd, 5, os.SEEK_HOLE))
for at in (0, 3, 4, 7, 90): os.pwrite(fd, b'x' * P, at * P)
tell('unsaved', lambda: parts(fd)); os.fsync(fd); tell('saved', lambda: parts(fd))
tell('behind the end', lambda: os.lseek(fd, 100 * P, os.SEEK_HOLE)); tell('before the beginning', lambda: os.lseek(fd, -1, os.SEEK_DATA))
os.pwrite(fd, b'y' * P, 5 * P); tell('both', lambda: parts(fd))
os.ftruncate(fd, 8 * P); os.ftruncate(fd, 50 * P); tell('cut and grown', lambda: parts(fd))
os.fsync(fd); tell('and saved', lambda: parts(fd))
far = 70 << 30
os.pwrite(fd, b'z' * P, far); tell('far away', lambda: parts(fd)); os.fsync(fd); tell('saved', lambda: parts(fd))
os.pwrite(fd, b'w' * (1 << 20), (64 << 20) - P); os.fsync(fd); tell('over two windows', lambda: parts(fd))
tell('cp finds the holes', lambda: os.system('cp --sparse=auto holes copy') or parts(os.open('copy', os.O_RDONLY)))
tell('tar finds them', lambda: os.system('tar -Scf t.tar holes') or os.stat('t.tar').st_size < 3000000)
os.close(fd); fd = os.open('holes', os.O_RDONLY); tell('opened again', lambda: parts(fd))
`

const FILES = `
fd = os.open('f', os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
os.write(fd, b'0123456789')
tell('append', lambda: os.write(os.open('f', os.O_WRONLY | os.O_APPEND), b'ab'))
tell('seen', lambda: os.fstat(fd).st_size)
a, b = (os.open('f', os.O_WRONLY | os.O_APPEND) for _ in range(2))
for n in range(20): os.write(a, b'a%d' % n); os.write(b, b'b%d' % n)
tell('appended in turns', lambda: read('f'))
tell('O_TRUNC', lambda: (opened('f', os.O_WRONLY | os.O_TRUNC), os.fstat(fd).st_size)[1])
os.pwrite(fd, b'end', 1000); tell('a hole', lambda: read('f').count(0))
os.ftruncate(fd, 500); os.ftruncate(fd, 1500); tell('cut and grown', lambda: (len(read('f')), read('f').count(0)))
os.pwrite(fd, b'x' * 200000, 300000); os.ftruncate(fd, 400000)
tell('sizes', lambda: (os.fstat(fd).st_size, read('f')[299999:300002]))
tell('fsync', lambda: os.fsync(fd)); tell('fdatasync', lambda: os.fdatasync(fd))
tell('fsync of a directory', lambda: os.fsync(os.open('.', os.O_RDONLY)))
two = os.dup(fd); os.write(two, b'shared'); tell('one position', lambda: os.lseek(fd, 0, os.SEEK_CUR))
os.close(fd); tell('after one close', lambda: os.write(two, b'!'))
os.close(two); tell('closed', lambda: os.write(two, b'!'))

write('map', bytes(300000))
fd = os.open('map', os.O_RDWR); other = os.open('map', os.O_RDWR)
with mmap.mmap(fd, 300000) as m, mmap.mmap(other, 300000) as n:
    m[100:105] = b'mmap!'; m[299995:] = b'tail!'; m[131070:131075] = b'split'
    tell('another mapping', lambda: n[100:105])
    tell('read', lambda: os.pread(other, 5, 100))
    os.pwrite(other, b'written', 5000); tell('written is mapped', lambda: m[5000:5007])
    m.flush(); tell('msync', lambda: read('map')[131070:131075])
    m[200:203] = b'end'
os.close(fd); os.close(other)
tell('unmapped', lambda: (read('map')[200:203], read('map')[299995:]))
fd = os.open('map', os.O_RDONLY)
p = mmap.mmap(fd, 300000, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE); p[0:3] = b'own'
tell('private', lambda: (p[0:3], read('map')[0:3]))
tell('shared for reading', lambda: mmap.mmap(fd, 10, mmap.MAP_SHARED, mmap.PROT_WRITE) and 'mapped')

write('open', 'first'); fd = os.open('open', os.O_RDWR); os.unlink('open')
tell('gone', lambda: os.path.exists('open'))
os.pwrite(fd, b'still here', 0); tell('read', lambda: os.pread(fd, 100, 0))
tell('no links', lambda: os.fstat(fd).st_nlink)
os.ftruncate(fd, 3); os.fsync(fd); tell('cut', lambda: os.pread(fd, 100, 0))
tell('mapped', lambda: mmap.mmap(fd, 3)[:])
tell('fchmod', lambda: os.fchmod(fd, 0o4711)); tell('its mode', lambda: oct(os.fstat(fd).st_mode))
tell('fchown', lambda: os.fchown(fd, 5, 6)); tell('its owner', lambda: (os.fstat(fd).st_uid, os.fstat(fd).st_gid))
tell('futimens', lambda: os.utime(fd, ns=(1_600_000_000_123_000_000, 1_500_000_000_456_000_000)))
tell('its times', lambda: (os.fstat(fd).st_atime_ns, os.fstat(fd).st_mtime_ns))
tell('fsetxattr', lambda: os.setxattr(fd, 'user.removed', b'yes')); tell('its attributes', lambda: os.getxattr(fd, 'user.removed'))
os.pwrite(fd, b'?', 3); os.fsync(fd); tell('written after all that', lambda: (os.pread(fd, 9, 0), oct(os.fstat(fd).st_mode & 0o777)))
tell('no new link', lambda: os.link('/proc/self/fd/%d' % fd, 'linked') or os.path.exists('linked'))
write('open', 'second'); tell('its name is free', lambda: (read('open'), os.pread(fd, 100, 0)))
fd2 = os.open('open', os.O_RDWR); write('third', 'third'); os.rename('third', 'open')
tell('replaced', lambda: (read('open'), os.pread(fd2, 100, 0), os.fstat(fd2).st_nlink))
os.close(fd); os.close(fd2)
fd = os.open('brief', os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600); os.unlink('brief')
tell('fchmod before anything was written', lambda: os.fchmod(fd, 0o640)); tell('mode', lambda: oct(os.fstat(fd).st_mode))
os.utime(fd, ns=(10**18, 10**18)); os.write(fd, b'content'); os.fsync(fd)
tell('content', lambda: (os.pread(fd, 9, 0), os.fstat(fd).st_nlink, oct(os.fstat(fd).st_mode))); os.close(fd)
os.mkdir('d'); here = os.open('d', os.O_RDONLY); write('d/f', 'in'); os.rename('d', 'e')
tell('below an open directory', lambda: os.open('f', os.O_RDONLY, dir_fd=here) > 0)
os.close(here)

fd = os.open('sparse', os.O_RDWR | os.O_CREAT)
tell('8 TiB', lambda: os.pwrite(fd, b'far', 8 << 40))
tell('size', lambda: os.fstat(fd).st_size); tell('near', lambda: os.pread(fd, 5, 1 << 40))
tell('far', lambda: os.pread(fd, 5, (8 << 40) - 1))
os.fsync(fd); tell('few blocks', lambda: os.fstat(fd).st_blocks < 400)
os.ftruncate(fd, 10); tell('cut', lambda: (os.fstat(fd).st_size, os.fstat(fd).st_blocks <= 8))
os.close(fd)
write('full', b'x' * 1000000); tell('blocks', lambda: 1900 < os.stat('full').st_blocks < 2100)
tell('past the bound', lambda: os.truncate('full', 1 << 62))
names = ['n' * 255, '日本' * 42, 'new\\nline', ' ', '-', '~', 'tab\\t', '\\x7f', '.hidden', 'a\\\\b', '*']
os.mkdir('names')
for name in names: write('names/' + name, name)
tell('names', lambda: os.listdir('names') == sorted(names) or sorted(os.listdir('names')) == sorted(names))
tell('contents', lambda: all(read('names/' + name).decode() == name for name in names))
deep = '/'.join(['d' * 250] * 15); os.makedirs(deep); write(deep + '/file', 'deep')
tell('a path of %d bytes' % len(deep), lambda: read(deep + '/file'))
longest = deep + '/' + 'n' * (4095 - len(deep) - 1 - 200) + '/' * 200
tell('%d bytes' % len(longest), lambda: os.mkdir(longest) or os.path.isdir(longest))
top = os.getcwd()
for n in range(20): os.mkdir('e' * 250); os.chdir('e' * 250)
tell('deeper than a path is long', lambda: write('f', 'deep') or read('f'))
tell('there', lambda: (os.listdir('.'), os.stat('f').st_size)); os.rename('f', 'g'); os.unlink('g'); os.chdir(top)
tell('all of it goes', lambda: os.system('rm -r ' + 'e' * 250))
os.utime('full', ns=(1_600_000_000_123_000_000, 1_500_000_000_456_000_000))
tell('times', lambda: (os.stat('full').st_atime_ns, os.stat('full').st_mtime_ns))
def moved(what, path, change, field='st_mtime_ns'):
    before = getattr(os.stat(path), field); time.sleep(0.01); change()
    print(what, getattr(os.stat(path), field) > before)
os.mkdir('times'); write('times/f')
moved('create: directory', 'times', lambda: write('times/g'))
moved('unlink: directory', 'times', lambda: os.unlink('times/g'))
moved('rename: directory', 'times', lambda: os.rename('times/f', 'times/h'))
moved('write: file', 'times/h', lambda: write('times/h', 'more'))
moved('chmod: ctime', 'times/h', lambda: os.chmod('times/h', 0o600), 'st_ctime_ns')
moved('chmod: no mtime', 'times/h', lambda: os.chmod('times/h', 0o644))
moved('link: ctime', 'times/h', lambda: os.link('times/h', 'times/i'), 'st_ctime_ns')
moved('xattr: ctime', 'times/h', lambda: os.setxattr('times/h', 'user.t', b'1'), 'st_ctime_ns')
`

const MANY = `
os.mkdir('many')
for n in range(COUNT): os.mknod('many/entry-%06d' % n)
tell('count', lambda: len(os.listdir('many')))
tell('all of them', lambda: sorted(os.listdir('many')) == ['entry-%06d' % n for n in range(COUNT)])
tell('with their type', lambda: sum(e.is_file() for e in os.scandir('many')))
for n in range(0, COUNT, 2): os.unlink('many/entry-%06d' % n)
tell('half', lambda: len(os.listdir('many')))
`

const long = process.env['DFS_TEST_LONG'] === '1'
const entries = long ? 20_000 : 2_000

const skip = reason ?? false
t.test('operations do what they do on a local disk', { skip }, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '1', '--racks', '1', '--replicas', '1')
  const at = foldersOf(t, cluster)

  const notRoot = process.getuid?.() === 0 ? false : 'only root can give files away'
  await t.test('kinds, modes, owners, links', { skip: notRoot }, async (t) =>
    sameOnBoth(t, at('nodes'), NODES, 45),
  )
  await t.test('open files, maps, holes, names, times', async (t) =>
    sameOnBoth(t, at('files'), FILES, 48),
  )
  await t.test('holes', async (t) => sameOnBoth(t, at('holes'), HOLES, 17))
  await t.test(`a directory of ${entries} entries`, async (t) =>
    sameOnBoth(t, at('long'), `COUNT = ${entries}\n${MANY}`, 4),
  )

  await t.test('16 TiB are the largest file', async (t) => {
    const script = `
fd = os.open('largest', os.O_RDWR | os.O_CREAT)
tell('the last bytes', lambda: os.pwrite(fd, b'end', (16 << 40) - 3))
os.fsync(fd)
tell('read', lambda: os.pread(fd, 10, (16 << 40) - 3))
tell('one more', lambda: os.ftruncate(fd, (16 << 40) + 1))
tell('size', lambda: os.stat('largest').st_size == 16 << 40)
tell('blocks', lambda: os.stat('largest').st_blocks < 400)
tell('data', lambda: os.lseek(fd, 0, os.SEEK_DATA) == (16 << 40) - 3)
`
    t.same(python(cluster.mount, script), [
      'the last bytes -> 3',
      "read -> b'end'",
      'one more -> EFBIG',
      'size -> True',
      'blocks -> True',
      'data -> True',
    ])
  })

  await t.test('whoever makes a file to append to it appends behind others', async (t) => {
    const other = mountAgain(t, cluster)
    const descriptor = openSync(join(cluster.mount, 'log'), 'a')
    t.teardown(() => closeSync(descriptor))
    const expected: string[] = []
    for (let n = 0; n < 3; n++) {
      writeSync(descriptor, `here ${n}\n`)
      fsyncSync(descriptor)
      appendFileSync(join(other, 'log'), `there ${n}\n`)
      expected.push(`here ${n}\n`, `there ${n}\n`)
    }
    t.equal(readFileSync(join(other, 'log'), 'utf8'), expected.join(''))
  })

  await t.test('what another mount removes or replaces lives on where it is open', async (t) => {
    const other = mountAgain(t, cluster)
    python(
      cluster.mount,
      `os.mkdir('shared'); write('shared/removed', 'removed'); write('shared/replaced', 'old')`,
    )
    const [removed, replaced] = ['removed', 'replaced'].map((name) => {
      const descriptor = openSync(join(cluster.mount, 'shared', name), 'r+')
      t.teardown(() => closeSync(descriptor))
      return descriptor
    })
    python(
      join(other, 'shared'),
      `os.unlink('removed'); write('new', 'new'); os.rename('new', 'replaced')`,
    )
    t.same(readdirSync(join(cluster.mount, 'shared')), ['replaced'], 'seen at once')
    const into = Buffer.alloc(20)
    const content = (descriptor = -1): string =>
      into.toString('latin1', 0, readSync(descriptor, into, 0, into.length, 0))
    t.equal(content(removed), 'removed')
    t.equal(content(replaced), 'old')
    t.equal(readFileSync(join(cluster.mount, 'shared/replaced'), 'utf8'), 'new')
    writeSync(removed ?? -1, 'written', 7)
    fsyncSync(removed ?? -1)
    t.equal(content(removed), 'removedwritten', 'and can be written')
  })
})
