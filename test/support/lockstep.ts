/**
 * The same system calls on a mount and on a local directory, so that what is right comes from the
 * kernel: a Python script tells what each call did, line by line, and the lines must be the same.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { runDfs, type TestCluster } from './cluster.ts'

/** Longest run of a script, ms. */
const SCRIPT_MS = process.env['DFS_TEST_LONG'] === '1' ? 1_000_000 : 120_000

/** What every script begins with. */
const PRELUDE = `
import os, errno, sys, stat, mmap, socket, ctypes, time, signal
def tell(what, call):
    try: result = call()
    except OSError as e: result = errno.errorcode[e.errno]
    if isinstance(result, list): result = sorted(result)
    print(what, '->', result, flush=True)
def write(path, text='x', flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode=0o666):
    fd = os.open(path, flags, mode)
    try: os.write(fd, text if isinstance(text, bytes) else text.encode())
    finally: os.close(fd)
def read(path):
    with open(path, 'rb') as f: return f.read()
def opened(path, flags, mode=0o666): os.close(os.open(path, flags, mode))
def mode(path): return oct(os.lstat(path).st_mode)
def as_nobody(calls):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
        try: calls()
        finally: sys.stdout.flush(); os._exit(0)
    os.waitpid(child, 0)
`

/** Why the calls cannot be made; undefined when they can. */
export function noPython(): string | undefined {
  const { error } = spawnSync('python3', ['-c', ''])
  return error === undefined ? undefined : 'python3 is not installed'
}

/** Why the folder of temporary files is no example for access control lists; undefined when it is. */
export function noLists(): string | undefined {
  // Owner, one user by name, group, mask, others.
  const list =
    '02000000 0100070000000000 0200070001000000 0400050000000000 1000070000000000 2000000000000000'
  const script = `import os, tempfile; f = tempfile.NamedTemporaryFile()
os.setxattr(f.name, 'system.posix_acl_access', bytes.fromhex('${list}'))`
  const { status } = spawnSync('python3', ['-c', script])
  return status === 0 ? undefined : 'the folder of temporary files keeps no access control lists'
}

/** Lines that a Python script prints in `directory`; throws when it fails. */
export function python(directory: string, script: string): string[] {
  const { status, stdout, stderr } = spawnSync('python3', ['-c', PRELUDE + script], {
    cwd: directory,
    encoding: 'utf8',
    timeout: SCRIPT_MS,
  })
  if (status !== 0) throw new Error(`python3 in ${directory}: exit ${status}\n${stdout}\n${stderr}`)
  return stdout.trimEnd().split('\n')
}

/** A directory on a local disk that other users can reach, gone with the test. */
export function localDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'dfs-local-'))
  chmodSync(directory, 0o755)
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** A folder of both, made when asked for, under the same name. */
export type Folders = (name: string) => { readonly local: string; readonly mount: string }

/** Folders on the mount and on a local disk. */
export function foldersOf(t: Test, { mount }: TestCluster): Folders {
  const local = localDirectory(t)
  return (name) => {
    const both = { local: join(local, name), mount: join(mount, name) }
    mkdirSync(both.local)
    mkdirSync(both.mount)
    return both
  }
}

/** Runs `script` in both; each line must be the same. `callsMin` guards against an empty comparison. */
export function sameOnBoth(
  t: Test,
  directories: { readonly local: string; readonly mount: string },
  script: string,
  callsMin: number,
): void {
  const here = python(directories.local, script)
  const there = python(directories.mount, script)
  t.ok(here.length >= callsMin, `${here.length} calls`)
  for (const [at, line] of here.entries()) t.equal(there[at], line, line.slice(0, 120))
  t.equal(there.length, here.length)
}

/** Mounts the cluster once more, at a place that other users can reach; unmounted with the test. */
export function mountAgain(t: Test, cluster: TestCluster, ...options: string[]): string {
  const base = dirname(cluster.mount)
  chmodSync(base, 0o755)
  const directory = mkdtempSync(join(base, 'again-'))
  mkdirSync(join(base, 'logs'), { recursive: true })
  const log = `--log-file=${join(base, 'logs', `${Date.now()}.log`)}`
  const profile = `--profile=${join(cluster.dir, 'profile')}`
  const { status, stderr } = runDfs('dfs-mount', [profile, log, ...options, directory])
  if (status !== 0) throw new Error(`dfs-mount: exit ${status}\n${stderr}`)
  t.teardown(() => {
    spawnSync('fusermount3', ['-u', '-z', directory])
  })
  return directory
}
