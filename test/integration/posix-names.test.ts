/**
 * Names of any bytes, most of them no UTF-8: on a mount of a real cluster and on a local disk in
 * lock-step, on another mount of the same tree, and with the commands of `dfs`.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { noMounts, repository, startCluster } from '../support/cluster.ts'
import {
  foldersOf,
  localDirectory,
  mountAgain,
  noPython,
  python,
  sameOnBoth,
} from '../support/lockstep.ts'

const skip = noMounts() ?? noPython() ?? false
t.setTimeout(240_000)

const NAMES = `
long = b'\\xff' * 255
names = [b'\\xff', b'\\xfe', b'a\\x80', b'\\x80a', b'\\xc3', b'\\xa4', b'\\xc3\\xa4', b'\\xa4\\xc3', b'\\xe2\\x82', b'\\xe2\\x82\\xac',
         b'\\xed\\xa0\\x80', b'\\xed\\xb3\\xbf', b'\\xf0\\x9f\\x98\\x80\\xff', b'\\xc0\\xaf', b'\\xef\\xbf\\xbd', b'\\xef\\xbf\\xbd\\xff', bytes(b for b in range(1, 256) if b != 47), long]
`

const EVERYTHING = `${NAMES}
for name in names: tell('write %r' % name, lambda: write(name, name))
tell('256 bytes', lambda: write(b'\\xff' * 256)); tell('and of a directory', lambda: os.mkdir(b'\\xff' * 256))
tell('list', lambda: os.listdir(b'.'))
tell('with types', lambda: sorted((e.name, e.is_file()) for e in os.scandir(b'.')))
for name in names: tell('read %r' % name, lambda: read(name))
tell('nothing of a like name', lambda: os.stat(b'\\xfd')); tell('nor of its text', lambda: os.stat(b'\\xef\\xbf\\xbe'))
tell('exclusively', lambda: opened(b'\\xff', os.O_WRONLY | os.O_CREAT | os.O_EXCL))
os.mkdir('d')
for name in names: tell('mkdir %r' % name, lambda: os.mkdir(b'd/' + name))
for name in names: tell('in it %r' % name, lambda: write(b'd/' + name + b'/' + name, name) or os.listdir(b'd/' + name))
for name in names: tell('rename %r' % name, lambda: os.rename(name, b'd/' + name + b'/moved') or read(b'd/' + name + b'/moved'))
tell('all moved', lambda: os.listdir(b'.'))
tell('a directory', lambda: os.rename(b'd/\\xff', b'd/\\xfe\\xff') or os.listdir(b'd/\\xfe\\xff'))
tell('over another', lambda: os.rename(b'd/\\xfe/\\xfe', b'd/\\xfe/moved') or read(b'd/\\xfe/moved'))
os.mkdir('l')
for name in names: tell('symlink %r' % name, lambda: os.symlink(b'../d/' + name, b'l/' + name) or os.readlink(b'l/' + name))
tell('length', lambda: os.lstat(b'l/\\xff').st_size); tell('followed', lambda: os.listdir(b'l/a\\x80'))
tell('a target of any bytes', lambda: os.symlink(names[-2] * 10, 'target') or os.readlink(b'target') == names[-2] * 10)
tell('4095 bytes', lambda: os.symlink(b'\\xfe' * 4095, 'longest') or os.readlink(b'longest') == b'\\xfe' * 4095)
tell('4096 bytes', lambda: os.symlink(b'\\xfe' * 4096, 'longer'))
write('f', 'linked')
for name in names: tell('link %r' % name, lambda: os.link('f', b'l/h' + name[:254]) or read(b'l/h' + name[:254]))
tell('names', lambda: os.stat('f').st_nlink)
xattrs = [b'user.' + name[:250] for name in names]
for name in set(xattrs): tell('setxattr', lambda: os.setxattr('f', name, name))
tell('listxattr', lambda: [os.fsencode(n) for n in os.listxattr('f')])
tell('getxattr', lambda: all(os.getxattr('f', name) == name for name in xattrs))
tell('none of a like name', lambda: os.getxattr('f', b'user.\\xfd'))
tell('removexattr', lambda: os.removexattr('f', b'user.\\xff') or len(os.listxattr('f')))
tell('fifo', lambda: os.mkfifo(b'fifo\\xff') or mode(b'fifo\\xff'))
os.chdir(b'd/a\\x80'); tell('within', lambda: read('moved')); os.chdir('../..')
tell('where', lambda: (os.chdir(b'd/\\xe2\\x82'), os.getcwdb()[-4:], os.chdir('../..'))[1])
for name in names: tell('unlink %r' % name, lambda: os.unlink(b'l/' + name))
tell('rmdir', lambda: os.rmdir(b'd/\\xc3')); tell('rm -r', lambda: os.system('rm -r d') or os.listdir('.'))
`

const KEPT = `${NAMES}
for name in names: write(name, name)
os.mkdir(b'd\\xff'); write(b'd\\xff/in\\xfe', 'in'); os.symlink(b'\\xfe\\xff', b'link\\xff')
os.setxattr(b'\\xff', b'user.\\xfe', b'value')
os.fsync(os.open('.', os.O_RDONLY))
`
const SEEN = `${NAMES}
tell('list', lambda: os.listdir(b'.') and set(os.listdir(b'.')) == {*names, b'd\\xff', b'link\\xff'})
tell('contents', lambda: all(read(name) == name for name in names))
tell('below', lambda: read(b'd\\xff/in\\xfe')); tell('target', lambda: os.readlink(b'link\\xff'))
`

t.test('names of any bytes', { skip }, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '1', '--racks', '1', '--replicas', '1')

  await t.test('are what they are on a local disk', async (t) => {
    const at = foldersOf(t, cluster)
    sameOnBoth(t, at('names'), EVERYTHING, 150)
  })

  await t.test('are the same for a mount that did not make them', async (t) => {
    const folder = join(cluster.mount, 'kept')
    mkdirSync(folder)
    python(folder, KEPT)
    const said = ['list -> True', 'contents -> True', "below -> b'in'", "target -> b'\\xfe\\xff'"]
    t.same(python(join(mountAgain(t, cluster), 'kept'), SEEN), said)
  })

  await t.test('go through the commands', async (t) => {
    const local = localDirectory(t)
    const script = join(repository, 'dist/bin/dfs.js')
    const profile = join(cluster.dir, 'profile')
    // Node cannot give such arguments.
    const dfs = `
import subprocess
def dfs(command, *args):
    done = subprocess.run([b'${process.execPath}', b'${script}', command, b'--profile=${profile}', *args], stdout=subprocess.PIPE)
    if done.returncode != 0: raise OSError(errno.EIO, 'dfs')
    return done.stdout
`
    const commands = `${NAMES}${dfs}
import json, pty
tell('ls', lambda: set(dfs('ls', '/kept').split(b'\\n')) >= {n for n in names if b'\\n' not in n})
tell('ls -l', lambda: dfs('ls', '-l', b'/kept/\\xff').strip().endswith(b' \\xff'))
tell('as JSON', lambda: {os.fsencode(json.loads(l)['name']) for l in dfs('ls', '--json', '/kept').splitlines()} == {*names, b'd\\xff', b'link\\xff'})
tell('below', lambda: dfs('ls', b'/kept/d\\xff'))
tell('to nobody', lambda: os.system("'${process.execPath}' '${script}' ls --profile='${profile}' /kept 2>&1 >/dev/full | cat >said") or read('said'))
tell('get', lambda: dfs('get', '-r', '/kept', '.') or os.listdir(b'kept') and set(os.listdir(b'kept')) == {*names, b'd\\xff', b'link\\xff'})
os.chdir('kept')
tell('got', lambda: all(read(n) == n for n in names)); tell('below', lambda: read(b'd\\xff/in\\xfe')); tell('target', lambda: os.readlink(b'link\\xff'))
os.chdir('..')
tell('get again', lambda: dfs('get', '-r', '/kept', '.')); tell('one', lambda: dfs('get', b'/kept/\\xfe', b'got\\xff') or read(b'got\\xff'))
tell('mkdir', lambda: dfs('mkdir', b'/back\\xff')); tell('put', lambda: dfs('put', '-r', 'kept', b'/back\\xff'))
tell('into a local folder', lambda: os.mkdir(b'to\\xff') or dfs('get', b'/back\\xff/kept/\\xff', b'to\\xff') or read(b'to\\xff/\\xff'))
tell('rm', lambda: dfs('rm', b'/back\\xff/kept/\\xff')); tell('gone', lambda: b'\\xff' in dfs('ls', b'/back\\xff/kept').split(b'\\n'))
tell('a like name is none', lambda: dfs('rm', b'/back\\xff/kept/\\xfd'))
def on_terminal():
    master, slave = pty.openpty()
    subprocess.run(['${process.execPath}', '${script}', 'ls', '--profile=${profile}', b'/back\\xff/kept'], stdout=slave)
    said = os.read(master, 10000)
    return b'link?' in said and b'\\xff' not in said and b'\\x1b' not in said
tell('on a terminal', on_terminal)
`
    t.same(python(local, commands), [
      'ls -> True',
      'ls -l -> True',
      'as JSON -> True',
      "below -> b'in\\xfe\\n'",
      "to nobody -> b''",
      'get -> True',
      'got -> True',
      "below -> b'in'",
      "target -> b'\\xfe\\xff'",
      "get again -> b''",
      "one -> b'\\xfe'",
      "mkdir -> b''",
      "put -> b''",
      "into a local folder -> b'\\xff'",
      "rm -> b''",
      'gone -> False',
      'a like name is none -> EIO',
      'on a terminal -> True',
    ])
  })
})
