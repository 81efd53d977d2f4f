/**
 * What the kernel's side of a mount costs by itself: a file system that does nothing, behind our
 * handlers. Nothing above it can be faster. Run with `npm run bench -- fuse`.
 *
 * Yardsticks, measured with libfuse's loop and fuse-native's class on a quiet machine of 2 cores: reads 390 to
 * 730 MB/s, writes 41 MB/s (requests of 4 KiB) or 600 to 800 MB/s (128 KiB), 8,300 stats/s without attribute
 * caching. CPU is that of the serving process: compare it when others use the machine.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mount } from '../../mount/fuse/mount.ts'
import { createLog } from '../../bin/runtime/log.ts'
import { ModelFileSystem } from '../support/model-file-system.ts'

const BULK_MB = 512
const STATS = 10_000

/** Keeps names, not contents. */
class NullFileSystem extends ModelFileSystem {
  override read(_handle: number, into: Uint8Array): number {
    return into.length
  }

  override write(_handle: number, bytes: Uint8Array): number {
    return bytes.length
  }
}

/** Prints one line for each kind of request. */
export async function run(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'dfs-fuse-'))
  const log = createLog('bench', { level: 'warn' })
  const live = await mount(new NullFileSystem(), { directory, log })
  try {
    const file = join(directory, 'file')
    await shell(`truncate -s ${BULK_MB}M ${file}`)
    const dd = `dd bs=1M count=${BULK_MB} conv=notrunc status=none`
    await bulk('write, one stream', BULK_MB, `${dd} if=/dev/zero of=${file}`)
    await bulk('read, one stream', BULK_MB, `${dd} if=${file} of=/dev/null`)
    const files = [1, 2, 3, 4].map((n) => `${file}${n}`)
    await shell(`truncate -s ${BULK_MB}M ${files.join(' ')}`)
    const readers = files.map((each) => `${dd} if=${each} of=/dev/null &`).join(' ')
    await bulk('read, four streams', 4 * BULK_MB, `${readers} wait`)
    const stat = `for (let n = 0; n < ${STATS}; n++) require('fs').statSync('${file}')`
    const { seconds, cpu } = await timed(`${process.execPath} -e "${stat}"`)
    const rate = Math.round(STATS / seconds)
    console.log(`stat: ${rate}/s, ${Math.round((cpu / STATS) * 1e6)} µs CPU each`)
  } finally {
    await live.unmount()
    spawnSync('fusermount3', ['-uzq', directory])
    rmdirSync(directory)
  }
}

async function bulk(what: string, megabytes: number, line: string): Promise<void> {
  const { seconds, cpu } = await timed(line)
  const perCpu = Math.round(megabytes / cpu)
  console.log(`${what}: ${Math.round(megabytes / seconds)} MB/s, ${perCpu} MB per CPU second`)
}

async function timed(line: string): Promise<{ seconds: number; cpu: number }> {
  const before = process.cpuUsage()
  const started = performance.now()
  await shell(line)
  const { user, system } = process.cpuUsage(before)
  return { seconds: (performance.now() - started) / 1_000, cpu: (user + system) / 1e6 }
}

/** Waits without blocking: this process serves the mount. */
function shell(line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', line], { stdio: ['ignore', 'ignore', 'inherit'] })
    child.on('error', reject)
    child.on('close', (status) =>
      status === 0 ? resolve() : reject(new Error(`"${line}" ended with ${status}`)),
    )
  })
}
