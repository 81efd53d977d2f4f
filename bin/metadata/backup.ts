/**
 * `dfs-metadata backup`, `restore` and `release-unknown`.
 */
import { methods } from '../../schema/methods.ts'
import type { Call } from '../../schema/rpc/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { writeBackup } from '../../server/metadata/backup/file.ts'
import { recordFrames, type RecordCounts } from '../../server/metadata/backup/frames.ts'
import { restoreBackup } from '../../server/metadata/backup/restore.ts'
import { readClusterFiles, readPolicy } from '../../server/metadata/cluster-files.ts'
import { openClusterStore } from '../../server/metadata/cluster-store.ts'
import { SCHEMA_VERSION } from '../../server/metadata/store/schema-version.ts'
import { ExitCode } from '../runtime/exit.ts'
import { formatSize } from '../runtime/size.ts'
import { ask, withServer } from './operator.ts'

/** Bytes taken from the connection at once. */
const PIECE_BYTES = 262_144
const CLEAR_LINE = '\r\u001B[K'
/** Milliseconds between two looks at a terminal. */
const SHOW_MS = 200

type Written = RecordCounts & { readonly bytes: number }

/** Writes a backup of a directory: of the server that runs on it, or of what a stopped one left. */
export async function backup(dir: string, to: string): Promise<void> {
  const { cluster } = await readPolicy(dir)
  const files = await readClusterFiles(dir)
  const show = progress('backed up')
  const write = (frames: AsyncIterable<Uint8Array>): Promise<Written> => {
    const header = {
      cluster: cluster.toString('hex'),
      schemaVersion: SCHEMA_VERSION,
      created: new Date().toISOString(),
      files,
    }
    const watched = async function* (): AsyncGenerator<Uint8Array> {
      let bytes = 0
      for await (const frame of frames) {
        show((bytes += frame.length))
        yield frame
      }
    }
    return writeBackup(to, header, watched())
  }
  const { bytes, records, damaged } = await withStoppedOrRunning(dir, write)
  console.error(`${to}: ${records} records, ${formatSize(bytes)}; keep it as secret as ${dir}`)
  if (damaged === 0) return
  console.error(`${damaged} damaged records are not in it; see dfs-metadata check`)
  process.exitCode = ExitCode.dataWrong
}

/** Takes the records from the store itself while nobody else has it open, else from the server. */
async function withStoppedOrRunning(
  dir: string,
  write: (frames: AsyncIterable<Uint8Array>) => Promise<Written>,
): Promise<Written> {
  try {
    const store = await openClusterStore(dir)
    try {
      return await write(recordFrames(store))
    } finally {
      await store.close()
    }
  } catch (error) {
    if (!(error instanceof DfsError) || error.code !== 'directoryInUse') throw error
  }
  return withServer(dir, async (peer) => {
    const call = await peer.open(methods.backup, {})
    call.end()
    try {
      await call.response
      return await write(payload(call))
    } catch (error) {
      call.cancel()
      throw error
    }
  })
}

async function* payload(call: Call<unknown>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const piece = Buffer.allocUnsafe(PIECE_BYTES)
    const length = await call.read(piece)
    if (length === 0) return
    yield piece.subarray(0, length)
  }
}

/** Makes a directory from a backup. */
export async function restore(from: string, dir: string): Promise<void> {
  const { header, records, damaged } = await restoreBackup({
    from,
    dir,
    onProgress: progress('restored'),
  })
  console.error(`${dir}: ${records} records as of ${header.created}`)
  if (damaged > 0) console.error(`${damaged} records were damaged when the backup was taken`)
  console.error('chunks that it does not know are kept until dfs-metadata release-unknown')
}

/** Lets chunks go that are kept since a restore. */
export async function releaseUnknown(dir: string): Promise<void> {
  const { released } = await ask(dir, methods.releaseUnknown, {})
  console.error(released ? 'chunks that no file names are deleted from now on' : 'none were kept')
}

/** A line on a terminal that says how far it is; nothing without one. */
function progress(verb: string): (bytes: number) => void {
  let shownMs = 0
  return (bytes) => {
    const nowMs = Date.now()
    if (!process.stderr.isTTY || nowMs - shownMs < SHOW_MS) return
    shownMs = nowMs
    process.stderr.write(`${CLEAR_LINE}${verb} ${formatSize(bytes)}\r`)
  }
}
