/**
 * What docs/fuse-limits.md says that a mount cannot do: each refusal has the errno that stands there, and
 * programs get on without.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { noMounts, startCluster } from '../support/cluster.ts'
import { noPython, python } from '../support/lockstep.ts'

/** Lines of what is called, and what must come of it. */
const NOT_PASSED = `
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *args):
    if function(*args) == -1: raise OSError(ctypes.get_errno(), '')
import fcntl
write('f', 'content'); write('other', 'other'); fd = os.open('f', os.O_RDWR)
size = lambda n: ctypes.c_int64(n)
tell('fallocate', lambda: call(libc.fallocate, fd, 0, size(0), size(100)))
tell('posix_fallocate', lambda: os.posix_fallocate(fd, 0, 100) or (os.fstat(fd).st_size, read('f')[:8]))
tell('a hole punched', lambda: call(libc.fallocate, fd, 3, size(0), size(4)))
tell('FICLONE', lambda: fcntl.ioctl(fd, 0x40049409, os.open('other', os.O_RDONLY)))
tell('copy_file_range', lambda: os.copy_file_range(os.open('other', os.O_RDONLY), fd, 5))
tell('cp', lambda: os.system('cp --reflink=auto f copied') or read('copied') == read('f'))
tell('ioctl', lambda: fcntl.ioctl(fd, 0x12345678))
tell('RENAME_NOREPLACE', lambda: call(libc.renameat2, -100, b'f', -100, b'new', 1))
tell('RENAME_EXCHANGE', lambda: call(libc.renameat2, -100, b'f', -100, b'other', 2))
tell('mv -n', lambda: (os.system('mv -n f other'), os.path.exists('f'), os.system('mv -n f moved'), os.path.exists('moved')))
tell('O_TMPFILE', lambda: opened('.', os.O_RDWR | os.O_TMPFILE))
import tempfile
tell('a temporary file', lambda: tempfile.TemporaryFile(dir='.').write(b'x'))
tell('capability', lambda: os.setxattr('moved', 'security.capability', bytes.fromhex('01000002') + bytes(16)))
tell('label', lambda: os.setxattr('moved', 'security.selinux', b'x'))
import struct
def acl(entries): return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *e) for e in entries)
def users(n): return acl([(1, 6, 0)] + [(2, 4, 1000 + u) for u in range(n - 4)] + [(4, 4, 0), (16, 4, 0), (32, 0, 0)])
tell('an ACL', lambda: os.setxattr('moved', 'system.posix_acl_access', users(511)) or len(os.getxattr('moved', 'system.posix_acl_access')))
tell('a longer ACL', lambda: os.setxattr('moved', 'system.posix_acl_access', users(512)))
tell('flock', lambda: fcntl.flock(fd, fcntl.LOCK_EX))
second = os.open('moved', os.O_RDWR)
tell('flock of another', lambda: fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB))
tell('lockf', lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
os.mkdir('going'); here = os.open('going', os.O_RDONLY); os.rmdir('going')
tell('a directory that is gone', lambda: os.fstat(here)); tell('its entries', lambda: os.listdir(here)); tell('into it', lambda: os.open('f', os.O_CREAT | os.O_WRONLY, dir_fd=here))
`

const NOT_PASSED_SAYS = [
  'fallocate -> ENOTSUP',
  "posix_fallocate -> (100, b'content\\x00')",
  'a hole punched -> ENOTSUP',
  'FICLONE -> ENOTSUP',
  'copy_file_range -> 5',
  'cp -> True',
  'ioctl -> ENOTTY',
  'RENAME_NOREPLACE -> EINVAL',
  'RENAME_EXCHANGE -> EINVAL',
  'mv -n -> (0, True, 0, True)',
  'O_TMPFILE -> ENOTSUP',
  'a temporary file -> 1',
  'capability -> ENOTSUP',
  'label -> ENOTSUP',
  'an ACL -> 4092',
  'a longer ACL -> E2BIG',
  'flock -> None',
  'flock of another -> EAGAIN',
  'lockf -> None',
  'a directory that is gone -> ENOENT',
  'its entries -> ENOENT',
  'into it -> ENOENT',
]

const LESS = `
write('t')
def times(a, m): os.utime('t', ns=(a, m)); s = os.stat('t'); return s.st_atime_ns, s.st_mtime_ns
tell('to the ns', lambda: times(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
tell('before 1970', lambda: times(-5_000_000_000, -1))
tell('touch -a', lambda: os.system('touch -d 2001-01-01 t; touch -a t') or (time.gmtime(os.stat('t').st_mtime).tm_year in (2000, 2001), abs(os.stat('t').st_atime - time.time()) < 60))
os.mkdir('d'); fd = os.open('d/f', os.O_RDWR | os.O_CREAT); os.write(fd, b'x'); os.fsync(fd)
os.unlink('d/f'); os.rmdir('d'); tell('without its directory', lambda: os.pread(fd, 1, 0))
tell('and fstat', lambda: os.fstat(fd).st_nlink)
if os.getuid() == 0:
    os.mknod('null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    tell('a device', lambda: opened('null', os.O_WRONLY))
else: print('a device -> EACCES')
mount = [l.split() for l in open('/proc/self/mountinfo') if l.split()[4] == os.path.dirname(os.getcwd())]
tell('nosuid, nodev', lambda: all(o in mount[-1][5].split(',') for o in ('nosuid', 'nodev')))
write('read', 'x'); before = os.stat('read').st_atime_ns; time.sleep(0.01); read('read')
tell('access time', lambda: os.stat('read').st_atime_ns == before)
`

const LESS_SAYS = [
  'to the ns -> (1600000000123456789, 1500000000987654321)',
  'before 1970 -> (-5000000000, -1)',
  'touch -a -> (True, True)',
  "without its directory -> b'x'",
  'and fstat -> 0',
  'a device -> EACCES',
  'nosuid, nodev -> True',
  'access time -> True',
]

// Some refusals are those that root gets.
const skip = noMounts() ?? noPython() ?? (process.geteuid?.() === 0 ? false : 'needs root')
t.setTimeout(240_000)

t.test('what a mount cannot do', { skip }, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '1', '--racks', '1', '--replicas', '1')
  const at = (folder: string): string => {
    mkdirSync(join(cluster.mount, folder))
    return join(cluster.mount, folder)
  }
  await t.test('is refused where it does not reach us', async (t) => {
    t.same(python(at('requests'), NOT_PASSED), NOT_PASSED_SAYS)
  })
  await t.test('is told where less arrives than was asked', async (t) => {
    t.same(python(at('less'), LESS), LESS_SAYS)
  })
})
