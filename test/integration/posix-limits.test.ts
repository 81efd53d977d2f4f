/**
 * A store that is full and a user who has used his quota, at the mount: what an application is told,
 * when, and that nothing else of its data suffers.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { noMounts, runDfs, TestCluster } from '../support/cluster.ts'
import { noPython, python } from '../support/lockstep.ts'

const DISK_MIB = 200

t.setTimeout(280_000)

/** Why no small disk can be made here; undefined when one can. */
function noDisks(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can mount a small disk'
  const probe = mkdtempSync(join(tmpdir(), 'dfs-disk-'))
  const mounted = spawnSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', probe])
  if (mounted.status === 0) execFileSync('/bin/umount', [probe])
  rmSync(probe, { recursive: true })
  return mounted.status === 0 ? undefined : 'mounting a small disk is not allowed here'
}

/** A cluster whose one chunkserver has a disk of its own, of {@link DISK_MIB}. */
function smallCluster(t: Test): TestCluster {
  const base = mkdtempSync(join(tmpdir(), 'dfs-small-'))
  const one = ['--chunkservers', '1', '--racks', '1', '--replicas', '1']
  const cluster = new TestCluster(base, one)
  const disk = join(cluster.dir, 'chunkserver-1')
  mkdirSync(disk, { recursive: true, mode: 0o700 })
  execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'none', disk])
  t.teardown(() => {
    try {
      cluster.down()
    } finally {
      execFileSync('/bin/umount', ['--lazy', disk])
      rmSync(base, { recursive: true, force: true })
    }
  })
  cluster.up()
  return cluster
}

const HELPERS = `
MIB = 1 << 20
def pattern(n): return bytes([n % 251 + 1]) * MIB
def put(fd, n):
    "A full store may take a part of a write; the rest is then refused"
    done = 0
    while done < MIB: done += os.pwrite(fd, pattern(n)[done:], n * MIB + done)
def fill(path, first, last, flags=os.O_WRONLY | os.O_CREAT):
    "Writes the MiB [first, last) and closes; which call failed, how, and how many MiB were taken"
    fd = os.open(path, flags)
    taken = first; where = 'write'; failed = None
    try:
        for taken in range(first, last): put(fd, taken)
        taken = last; where = 'fsync'
        os.fsync(fd)
    except OSError as e: failed = errno.errorcode[e.errno]
    try: os.close(fd)
    except OSError as e:
        if failed is None: failed = errno.errorcode[e.errno]; where = 'close'
    return failed if failed is None else (where, failed, taken)
def wrong(path, first, last):
    "MiB that are not what was written"
    fd = os.open(path, os.O_RDONLY)
    try: return [n for n in range(first, last) if os.pread(fd, MIB, n * MIB) != pattern(n)]
    finally: os.close(fd)
def free(): s = os.statvfs('.'); return s.f_bavail * s.f_frsize / MIB
def total(): s = os.statvfs('.'); return s.f_blocks * s.f_frsize / MIB
def until(what, condition, seconds=60):
    end = time.time() + seconds
    while not condition() and time.time() < end: time.sleep(0.1)
    tell(what, condition)
`

const FULL = `
tell('size', lambda: ${DISK_MIB} - 40 <= total() <= ${DISK_MIB})  # without the server's reserve
start = free(); tell('free', lambda: total() / 2 < start <= total())
tell('kept', lambda: fill('kept', 0, 20))
until('less is free', lambda: start - 30 < free() < start - 15)
tell('grown: what was there', lambda: fill('grown', 0, 10))
error = fill('grown', 10, ${2 * DISK_MIB})
tell('full', lambda: error and (error[1], error[2] >= 50))
until('nothing is free', lambda: free() < 5)
tell('kept is', lambda: wrong('kept', 0, 20)); tell('what was synced is', lambda: wrong('grown', 0, 10))
tell('and what fitted', lambda: 50 * MIB < os.stat('grown').st_size < (error[2] + 1) * MIB)
# The end of a chunk that could be stored may be in the middle of a MiB.
def hole(n): fd = os.open('grown', os.O_RDONLY); b = os.pread(fd, MIB, n * MIB); os.close(fd); return len(b) == MIB and set(b) <= {0, pattern(n)[0]}
tell('or is a hole', lambda: [n for n in wrong('grown', 0, os.stat('grown').st_size // MIB) if not hole(n)])
# What was given up is taken away meanwhile: fill what that leaves.
os.mkdir('rest'); refused = files = 0
while refused < 3 and files < 300:
    files += 1
    if fill('rest/%d' % files, 0, 1) is None: refused = 0
    else: refused += 1; os.unlink('rest/%d' % files); time.sleep(0.5)
tell('full at last', lambda: files < 300)
tell('new file', lambda: fill('new', 0, 2)[1])
tell('overwriting', lambda: fill('kept', 5, 7)[1]); tell('leaves the old', lambda: wrong('kept', 0, 20))
tell('names need no room there', lambda: os.mkdir('d') or os.rename('kept', 'd/kept'))
tell('small files neither', lambda: write('d/small', 'x' * 1000) or read('d/small') == b'x' * 1000)
fd = os.open('d/kept', os.O_RDWR); os.pwrite(fd, b'lost' * MIB, 0)
def sync():
    try: os.fsync(fd)
    except OSError as e: return errno.errorcode[e.errno]
tell('fsync says so', sync); tell('and says it once', sync)
os.close(fd); tell('opened again it shows what is kept', lambda: wrong('d/kept', 0, 20))
os.unlink('grown')
# At least what fitted of it, 50 MiB: the rest may have been filled.
until('room again', lambda: free() > 40)
tell('taken again', lambda: fill('again', 0, 30)); tell('right', lambda: wrong('again', 0, 30))
tell('old and new', lambda: wrong('d/kept', 0, 20))
`

const FULL_SAYS = [
  'size -> True',
  'free -> True',
  'kept -> None',
  'less is free -> True',
  'grown: what was there -> None',
  "full -> ('ENOSPC', True)",
  'nothing is free -> True',
  'kept is -> []',
  'what was synced is -> []',
  'and what fitted -> True',
  'or is a hole -> []',
  'full at last -> True',
  'new file -> ENOSPC',
  'overwriting -> ENOSPC',
  'leaves the old -> []',
  'names need no room there -> None',
  'small files neither -> True',
  'fsync says so -> ENOSPC',
  'and says it once -> None',
  'opened again it shows what is kept -> []',
  'room again -> True',
  'taken again -> None',
  'right -> []',
  'old and new -> []',
]

const QUOTA = `
tell('total', lambda: total()); tell('free', lambda: 17 < free() <= 20)
tell('kept', lambda: fill('kept', 0, 8)); tell('less is free', lambda: 9 < free() <= 12)
error = fill('more', 0, 30); tell('over', lambda: error and error[1])
tell('kept is', lambda: wrong('kept', 0, 8))
os.path.exists('more') and os.unlink('more')
tell('as much as fits', lambda: fill('fits', 0, 20 - 9))
tell('nothing is free', lambda: free() < 1.5)
tell('xattr', lambda: [os.setxattr('kept', 'user.n%d' % n, bytes(60000)) or os.link('kept', 'l%d' % n) for n in range(1)])
def small():
    for n in range(2000): write('small%d' % n, 'x' * 4000)
tell('small files', small)
tell('names are free', lambda: os.mkdir('d') or os.rename('kept', 'd/kept'))
tell('a smaller file is fine', lambda: os.truncate('fits', 3 * MIB)); tell('its rest', lambda: wrong('fits', 0, 3))
until('room again', lambda: free() > 7)
tell('taken', lambda: fill('again', 0, 5)); tell('right', lambda: wrong('again', 0, 5) + wrong('d/kept', 0, 8))
`

const QUOTA_SAYS = [
  'total -> 20.0',
  'free -> True',
  'kept -> None',
  'less is free -> True',
  'over -> EDQUOT',
  'kept is -> []',
  'as much as fits -> None',
  'nothing is free -> True',
  'xattr -> [None]',
  'small files -> EDQUOT',
  'names are free -> None',
  'a smaller file is fine -> None',
  'its rest -> []',
  'room again -> True',
  'taken -> None',
  'right -> []',
]

const skip = noMounts() ?? noPython() ?? noDisks() ?? false

t.test('a store that is full, a quota that is used up', { skip }, async (t) => {
  const cluster = smallCluster(t)
  const at = (folder: string): string => {
    mkdirSync(join(cluster.mount, folder))
    return join(cluster.mount, folder)
  }
  await t.test('a full store is ENOSPC, and everything else stays', async (t) => {
    const directory = at('full')
    try {
      t.same(python(directory, HELPERS + FULL), FULL_SAYS)
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
  await t.test('a quota is EDQUOT, and everything else stays', async (t) => {
    const quota = (size: string): void => {
      const args = ['user', 'quota', 'me', size, '--dir', join(cluster.dir, 'metadata')]
      const { status, stderr } = runDfs('dfs-metadata', args)
      t.equal(status, 0, stderr)
    }
    quota('20M')
    t.same(python(at('quota'), HELPERS + QUOTA), QUOTA_SAYS)
    quota('none')
  })
})
