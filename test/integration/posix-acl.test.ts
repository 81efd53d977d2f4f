/**
 * Access control lists through a mount of a real cluster, in lock-step with a local disk: what is kept and
 * refused, how the mode and a list change each other, what is inherited, and whom the kernel lets in.
 */
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { noMounts, startCluster } from '../support/cluster.ts'
import { foldersOf, mountAgain, noLists, noPython, sameOnBoth } from '../support/lockstep.ts'

t.setTimeout(280_000)

/** Lists as setfacl writes them, and the binary form of linux/posix_acl_xattr.h. */
const LISTS = `
import struct, fcntl, threading
A, D = 'system.posix_acl_access', 'system.posix_acl_default'
NO = 0xffffffff
TAGS = {'u': 1, 'u+': 2, 'g': 4, 'g+': 8, 'm': 16, 'o': 32}
def acl(text, version=2):
    packed = struct.pack('<I', version)
    for entry in text.split(','):
        kind, who, bits = entry.split(':')
        tag = TAGS[kind + '+' if who else kind]
        packed += struct.pack('<HHI', tag, int(bits, 8), int(who) if who else NO)
    return packed
def told(value):
    version, = struct.unpack_from('<I', value); names = {v: k for k, v in TAGS.items()}
    return ','.join('%s:%s:%o' % (names[t][0], '' if i == NO else i, p) for t, p, i in struct.iter_unpack('<HHI', value[4:]))
def get(path, name=A):
    try: return told(os.getxattr(path, name) if isinstance(path, int) else os.getxattr(path, name, follow_symlinks=False))
    except OSError as e: return errno.errorcode[e.errno]
def put(path, text, name=A): os.setxattr(path, name, acl(text) if isinstance(text, str) else text)
def all_of(path):
    s = os.lstat(path)
    return oct(s.st_mode), s.st_uid, s.st_gid, get(path), get(path, D), sorted(os.listxattr(path, follow_symlinks=False))
def show(what, path, call=None):
    if call is not None: tell(what, call)
    tell(what + ': then', lambda: [str(x) for x in all_of(path)])
`

const KEPT = `
os.umask(0o022)
write('f', 'content'); os.mkdir('d'); os.symlink('f', 's'); os.mkfifo('p')
os.chmod('f', 0o640)
show('nothing', 'f'); show('nothing on a directory', 'd')
show('as the mode', 'f', lambda: put('f', 'u::6,g::4,o::0'))
show('another mode', 'f', lambda: put('f', 'u::7,g::5,o::1'))
show('a user', 'f', lambda: put('f', 'u::6,u:1000:7,g::4,m::5,o::0'))
show('a group', 'f', lambda: put('f', 'u::6,g::7,g:1234:1,m::3,o::4'))
show('both', 'f', lambda: put('f', 'u::6,u:1:4,u:65534:6,g::4,g:7:1,g:8:0,m::6,o::0'))
show('a mask alone', 'f', lambda: put('f', 'u::7,g::7,m::4,o::0'))
for bits in 0o777, 0o700, 0o070, 0o007, 0, 0o6754, 0o644:
    show('chmod %o' % bits, 'f', lambda: os.chmod('f', bits))
show('set-id bits stay', 'f', lambda: os.chmod('f', 0o6755) or put('f', 'u::6,u:5:7,g::4,m::7,o::0'))
show('and go with a write of others', 'f', lambda: os.chmod('f', 0o755))
show('chown', 'f', lambda: os.chown('f', 5, 6))
show('chown drops set-id bits alone', 'f', lambda: os.chmod('f', 0o6775) or os.chown('f', 8, 9))
show('beside others', 'f', lambda: os.setxattr('f', 'user.a', b'1'))
show('removed', 'f', lambda: os.removexattr('f', A))
show('removed again', 'f', lambda: os.removexattr('f', A))
show('set again', 'f', lambda: put('f', 'u::6,u:1000:7,g::4,m::5,o::0'))
show('replaced by the mode', 'f', lambda: put('f', 'u::6,g::6,o::6'))
show('XATTR_CREATE of what is there', 'f', lambda: put('f', 'u::6,u:1:7,g::4,m::5,o::0') or os.setxattr('f', A, acl('u::6,u:2:7,g::4,m::5,o::0'), os.XATTR_CREATE))
show('XATTR_REPLACE of what is not', 'd', lambda: os.setxattr('d', A, acl('u::6,u:2:7,g::4,m::5,o::0'), os.XATTR_REPLACE))
show('without entries', 'f', lambda: os.setxattr('f', A, struct.pack('<I', 2)))
show('empty', 'f', lambda: put('f', 'u::6,u:1:7,g::4,m::5,o::0') or os.setxattr('f', A, b''))
show('by another name', 'f', lambda: os.link('f', 'h') or put('h', 'u::6,u:3:7,g::4,m::5,o::0'))
show('of a pipe', 'p', lambda: put('p', 'u::6,u:3:7,g::4,m::5,o::0'))
show('of a link', 's', lambda: os.setxattr('s', A, acl('u::6,g::6,o::6'), follow_symlinks=False))
tell('remove of a link', lambda: os.removexattr('s', A, follow_symlinks=False))
tell('get of a link', lambda: os.getxattr('s', A, follow_symlinks=False))
show('through a link', 'f', lambda: put('s', 'u::7,u:9:7,g::4,m::5,o::0'))
show('a default', 'd', lambda: put('d', 'u::7,g::5,o::0', D))
show('a longer default', 'd', lambda: put('d', 'u::7,u:1:6,g::5,m::7,o::0', D))
show('chmod of a directory', 'd', lambda: os.chmod('d', 0o1711))
show('a default removed', 'd', lambda: os.removexattr('d', D))
show('and again', 'd', lambda: os.removexattr('d', D))
show('a default of a file', 'f', lambda: put('f', 'u::7,g::5,o::0', D))
show('get the default of a file', 'f', lambda: get('f', D))
show('no default of a file', 'f', lambda: os.removexattr('f', D))
show('a default of a pipe', 'p', lambda: put('p', 'u::7,g::5,o::0', D))
many = 'u::7,' + ','.join('u:%d:7' % n for n in range(1, 300)) + ',g::5,m::7,o::0'
tell('three hundred', lambda: put('f', many) or get('f') == many)
fd = os.open('f', os.O_RDWR)
show('by descriptor', 'f', lambda: os.setxattr(fd, A, acl('u::6,u:77:7,g::4,m::5,o::0')))
os.write(fd, b'unsaved')
show('with unsaved data', 'f', lambda: os.fchmod(fd, 0o660) or get('f'))
os.close(fd); tell('content', lambda: read('f'))
new = os.open('new', os.O_RDWR | os.O_CREAT); os.write(new, b'x')
show('of a file being made', 'new', lambda: os.setxattr(new, A, acl('u::6,u:77:7,g::4,m::5,o::0')))
os.unlink('new'); tell('of a removed open file', lambda: told(os.getxattr(new, A)))
tell('set on it', lambda: os.setxattr(new, A, acl('u::6,u:78:7,g::4,m::5,o::0')) or told(os.getxattr(new, A)))
os.rename('f', 'g'); show('moved', 'g')
before = os.stat('g').st_ctime_ns; time.sleep(0.02)
tell('ctime', lambda: put('g', 'u::7,u:9:7,g::4,m::5,o::0') or os.stat('g').st_ctime_ns > before)
tell('mtime', lambda: os.utime('g', ns=(1, 2)) or put('g', 'u::7,u:9:7,g::4,m::6,o::0') or os.stat('g').st_mtime_ns)
`

const REFUSED = `
write('f'); os.mkdir('d')
bad = {
    'no entries but a mask': 'm::7', 'no owner': 'g::4,o::0', 'no group': 'u::4,o::0', 'no other': 'u::4,g::4',
    'no mask': 'u::4,u:1:4,g::4,o::0', 'no mask for a group': 'u::4,g::4,g:1:4,o::0',
    'two owners': 'u::4,u::4,g::4,o::0', 'two groups': 'u::4,g::4,g::4,o::0', 'two masks': 'u::4,g::4,m::4,m::4,o::0',
    'two others': 'u::4,g::4,o::0,o::0', 'out of order': 'g::4,u::4,o::0', 'a user too late': 'u::4,g::4,u:1:4,m::7,o::0',
    'a group too early': 'u::4,g:1:4,g::4,m::7,o::0', 'a mask too early': 'u::4,m::7,g::4,o::0', 'something behind': 'u::4,g::4,o::0,m::7',
    'permissions': 'u::10,g::4,o::0', 'no user': 'u::4,u:4294967295:4,g::4,m::7,o::0', 'no group named': 'u::4,g::4,g:4294967295:4,m::7,o::0',
}
for name in A, D:
    for what, text in bad.items(): tell(name + ' ' + what, lambda: put('d', text, name))
    good = acl('u::6,u:1:7,g::4,m::5,o::0')
    tell(name + ' version', lambda: put('d', acl('u::6,g::4,o::0', 1), name))
    tell(name + ' short', lambda: put('d', good[:3], name)); tell(name + ' cut', lambda: put('d', good[:-1], name))
    tell(name + ' longer', lambda: put('d', good + b'x', name))
    tell(name + ' tag', lambda: put('d', good[:4] + b'\\x40' + good[5:], name))
    tell(name + ' named twice', lambda: put('d', 'u::6,u:1:7,u:1:4,g::4,m::5,o::0', name) or get('d', name))
    tell(name + ' not in order of ids', lambda: put('d', 'u::6,u:9:7,u:1:4,g::4,m::5,o::0', name) or get('d', name))
    tell(name + ' of nothing', lambda: put('nothing', good, name))
show('nothing changed', 'f')
tell('another', lambda: os.setxattr('f', 'system.posix_acl_x', b''))
`

const INHERITED = `
def make(at):
    for umask in 0, 0o027, 0o777:
        os.umask(umask)
        for bits in 0o777, 0o666, 0o640, 0o4711, 0:
            name = '%s/%o-%o-' % (at, umask, bits)
            write(name + 'f', mode=bits); show('file', name + 'f')
            os.close(os.open(name + 'r', os.O_CREAT | os.O_RDONLY, bits)); show('file to read', name + 'r')
            os.mkdir(name + 'd', bits); show('directory', name + 'd')
            os.mkfifo(name + 'p', bits); show('pipe', name + 'p')
            os.mknod(name + 'n', bits | stat.S_IFREG); show('node', name + 'n')
            os.symlink('x', name + 's'); show('link', name + 's')
    os.umask(0o022)
    s = socket.socket(socket.AF_UNIX); s.bind(at + '/sock'); s.close(); show('socket', at + '/sock')
defaults = {
    'none': None, 'mode': 'u::7,g::5,o::0', 'user': 'u::7,u:1000:7,g::5,m::7,o::5', 'mask': 'u::7,g::7,m::5,o::0',
    'closed': 'u::0,u:1:0,g::0,m::0,o::0', 'groups': 'u::6,g::6,g:5:7,g:6:1,m::6,o::6',
}
for name, default in defaults.items():
    for bits in 0o755, 0o2755:
        at = '%s-%o' % (name, bits); os.mkdir(at); os.chown(at, 0, 77); os.chmod(at, bits)
        if default: put(at, default, D)
        show(at, at); make(at)
os.umask(0o022); os.mkdir('deep'); put('deep', 'u::7,u:1000:6,g::5,m::7,o::5', D)
os.makedirs('deep/a/b/c'); write('deep/a/b/c/f', mode=0o666); show('far below', 'deep/a/b/c/f'); show('above it', 'deep/a/b/c')
write('outside', mode=0o640); os.rename('outside', 'deep/in'); show('moved in', 'deep/in')
write('deep/a/out'); os.rename('deep/a/out', 'out'); show('moved out', 'out')
os.link('out', 'deep/linked'); show('linked in', 'deep/linked')
write('deep/in', 'again'); show('written again', 'deep/in')
os.setxattr('deep', 'user.x', b'1'); write('deep/f2', mode=0o666); show('beside others', 'deep/f2')
os.removexattr('deep', D); write('deep/f3', mode=0o666); show('no default any more', 'deep/f3'); os.mkdir('deep/d3'); show('nor a directory', 'deep/d3')
`

const WHOM = `
import itertools
os.umask(0)
def as_user(uid, gid, groups, calls):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setgroups(groups); os.setresgid(gid, gid, gid); os.setresuid(uid, uid, uid)
        try: calls()
        finally: sys.stdout.flush(); os._exit(0)
    os.waitpid(child, 0)
people = [(2000, 2000, []), (2001, 2001, []), (2001, 3000, []), (2002, 2002, [3000]), (2003, 4000, []), (2003, 2003, [3000, 4000]), (2004, 2004, [])]
lists = {
    'user': 'u::6,u:2001:4,g::0,m::7,o::0', 'user masked': 'u::6,u:2001:6,g::6,m::4,o::0',
    'user out': 'u::6,u:2001:0,g::4,m::7,o::7', 'group': 'u::6,g::0,g:4000:6,m::7,o::0', 'groups': 'u::6,g::4,g:4000:2,m::7,o::0',
    'group out': 'u::6,g::0,g:4000:0,m::7,o::7', 'owner out': 'u::0,u:2000:7,g::7,m::7,o::7', 'nobody': 'u::6,u:2001:7,g::7,m::0,o::0',
}
for name, text in lists.items():
    write(name); os.chown(name, 2000, 3000); put(name, text)
    os.mkdir(name + '.d'); write(name + '.d/f'); os.chmod(name + '.d/f', 0o666); os.chown(name + '.d', 2000, 3000); put(name + '.d', text)
    def calls():
        rights = [bit for bit in (os.R_OK, os.W_OK, os.X_OK)]
        print(name, os.getuid(), os.getgid(), os.getgroups(), [os.access(name, b) for b in rights], [os.access(name + '.d', b) for b in rights])
        tell('read', lambda: read(name)); tell('write', lambda: opened(name, os.O_WRONLY)); tell('truncate', lambda: os.truncate(name, 0))
        tell('list', lambda: os.listdir(name + '.d')); tell('below', lambda: read(name + '.d/f'))
        tell('make', lambda: opened(name + '.d/%d-%d' % (os.getuid(), os.getgid()), os.O_WRONLY | os.O_CREAT))
        tell('show', lambda: get(name))
    for person in people: as_user(*person, calls)
def owner():
    for name in lists:
        tell('own', lambda: put(name, 'u::6,u:2004:4,g::0,m::7,o::0')); tell('chmod own', lambda: os.chmod(name, 0o600))
        tell('own default', lambda: put(name + '.d', 'u::7,u:2004:7,g::0,m::7,o::0', D))
def others():
    for name in lists:
        tell('others', lambda: put(name, 'u::6,u:2004:4,g::0,m::7,o::0')); tell('remove', lambda: os.removexattr(name, A))
        tell('default', lambda: put(name + '.d', 'u::7,g::0,o::0', D)); tell('remove the default', lambda: os.removexattr(name + '.d', D))
as_user(2004, 2004, [], others); as_user(2000, 2000, [], owner)
for name in lists: show('afterwards', name); show('afterwards', name + '.d')
as_user(2004, 2004, [], lambda: [tell('still out', lambda: read(name)) for name in lists])
# Changed while the kernel knows it, in every order, and seen at once.
write('live', 'x'); os.chown('live', 2000, 3000); os.chmod('live', 0o600)
def reads(what): as_user(2001, 2001, [], lambda: tell(what, lambda: read('live')))
reads('closed'); put('live', 'u::6,u:2001:4,g::0,m::4,o::0'); reads('opened by a list')
os.chmod('live', 0o600); reads('closed by chmod'); os.chmod('live', 0o640); reads('opened by chmod')
put('live', 'u::6,g::4,o::0'); reads('closed by the mode'); put('live', 'u::6,u:2001:4,g::0,m::4,o::0'); reads('again')
os.removexattr('live', A); reads('removed'); show('live', 'live')
# Set-gid goes with a list that its owner sets without being of the group.
for gid, groups in (2000, []), (3000, []), (2000, [3000]):
    write('sgid'); os.chown('sgid', 2000, 3000); os.chmod('sgid', 0o2755); os.mkdir('sgid.d'); os.chown('sgid.d', 2000, 3000); os.chmod('sgid.d', 0o2755)
    for text in 'u::7,g::5,o::0', 'u::7,u:1:5,g::5,m::5,o::0':
        as_user(2000, gid, groups, lambda: tell('set', lambda: put('sgid', text))); show('sgid', 'sgid'); os.chmod('sgid', 0o2755)
        as_user(2000, gid, groups, lambda: tell('set', lambda: put('sgid.d', text, D))); show('sgid.d', 'sgid.d')
        as_user(2000, gid, groups, lambda: tell('set', lambda: put('sgid.d', text))); show('sgid.d', 'sgid.d'); os.chmod('sgid.d', 0o2755)
    os.unlink('sgid'); os.rmdir('sgid.d')
# Set-id bits go with what somebody else writes, and the list stays.
write('priv', 'x'); os.chown('priv', 2000, 3000); put('priv', 'u::7,u:2001:7,g::5,m::7,o::0'); os.chmod('priv', 0o6770)
as_user(2001, 2001, [], lambda: tell('write of another', lambda: write('priv', 'more', os.O_WRONLY))); show('priv', 'priv')
os.chmod('priv', 0o6770); fd = os.open('priv', os.O_RDWR); put('priv', 'u::7,u:2001:7,g::1,m::3,o::0')
as_user(2001, 2001, [], lambda: tell('write behind a change', lambda: os.write(fd, b'y'))); show('priv', 'priv')
os.close(fd)
# What is made where a list is inherited is closed to those whom it keeps out.
os.mkdir('team'); os.chmod('team', 0o777); put('team', 'u::7,u:2001:6,u:2002:0,g::5,m::7,o::5', D)
as_user(2000, 2000, [], lambda: (write('team/f', 'x'), os.mkdir('team/d', 0o777), write('team/d/f')))
for person in people: as_user(*person, lambda: (tell('%s team' % os.getuid(), lambda: read('team/f')), tell('write', lambda: opened('team/f', os.O_WRONLY)), tell('list', lambda: os.listdir('team/d'))))
show('team', 'team/f'); show('team', 'team/d'); show('team', 'team/d/f')
`

/** Who reads is here, what changes is there: at another mount, or at the same local disk. */
const SHARED = `
write('f', 'x'); os.chown('f', 2000, 3000); os.chmod('f', 0o600); os.chmod('.', 0o755)
def reads(what):
    def calls(): tell(what, lambda: read('f')); tell('write', lambda: opened('f', os.O_WRONLY)); tell('list', lambda: get('f'))
    sys.stdout.flush(); child = os.fork()
    if child == 0:
        os.setgroups([]); os.setresgid(2001, 2001, 2001); os.setresuid(2001, 2001, 2001)
        try: calls()
        finally: sys.stdout.flush(); os._exit(0)
    os.waitpid(child, 0)
far = there + '/f'
fd = os.open('f', os.O_RDONLY)
for turn in range(2):
    reads('closed'); put(far, 'u::6,u:2001:4,g::0,m::4,o::0'); reads('opened by a list')
    os.chmod(far, 0o620); reads('masked'); os.chmod(far, 0o670); reads('not masked')
    put(far, 'u::6,u:2001:0,g::7,m::7,o::7'); reads('kept out'); os.removexattr(far, A); reads('the mode decides')
    os.chmod(far, 0o600); put('f', 'u::6,u:2001:6,g::0,m::6,o::0'); reads('changed here')
    tell('there', lambda: (get(far), oct(os.stat(far).st_mode))); os.chmod(far, 0o600); os.removexattr('f', A)
    tell('by descriptor', lambda: (oct(os.fstat(fd).st_mode), get(fd)))
    put(far, 'u::6,u:2001:6,g::0,m::6,o::0'); tell('and again', lambda: (oct(os.fstat(fd).st_mode), told(os.getxattr(fd, A))))
    os.removexattr(far, A); os.chmod(far, 0o600)
put('.', 'u::7,u:2001:7,g::5,m::7,o::5', D); os.mkdir(there + '/sub'); write(there + '/made', mode=0o666)
tell('inherited there', lambda: [all_of('sub'), all_of('made')] == [all_of(there + '/sub'), all_of(there + '/made')])
show('sub', 'sub'); show('made', 'made')
`

const skip = noMounts() ?? noPython() ?? noLists() ?? false
const notRoot = process.getuid?.() === 0 ? false : 'only root can become another user'

t.test('access control lists do what they do on a local disk', { skip }, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '1', '--racks', '1', '--replicas', '1')
  const at = foldersOf(t, cluster)
  chmodSync(cluster.mount, 0o755)

  await t.test('kept, changed with the mode, removed', async (t) => {
    sameOnBoth(t, at('kept'), LISTS + KEPT, 90)
  })
  await t.test('refused', async (t) => {
    sameOnBoth(t, at('refused'), LISTS + REFUSED, 45)
  })
  await t.test('inherited', { skip: notRoot }, async (t) => {
    sameOnBoth(t, at('inherited'), LISTS + INHERITED, 1_000)
  })
  await t.test('whom the kernel lets in', { skip: notRoot }, async (t) => {
    const { local } = at('whom')
    const everybody = mountAgain(t, cluster, '--allow-other')
    sameOnBoth(t, { local, mount: join(everybody, 'whom') }, LISTS + WHOM, 400)
  })
  await t.test('what one mount changes another one sees at once', { skip: notRoot }, async (t) => {
    const { local, mount } = at('shared')
    const here = join(mountAgain(t, cluster, '--allow-other'), 'shared')
    const script = `there = '${mount}' if os.getcwd() == '${here}' else '.'\n${LISTS}${SHARED}`
    sameOnBoth(t, { local, mount: here }, script, 50)
  })
})
