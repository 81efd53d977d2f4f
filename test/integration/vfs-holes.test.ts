/**
 * Where a file has data and where holes, to the byte, whatever was written, cut and saved: against a list of
 * every byte that was written.
 */
import { constants } from 'node:fs'
import t from 'tap'
import type { FileSystem, Handle } from '../../mount/vfs/api.ts'
import { seeded } from '../support/seeded.ts'
import { startStore } from '../support/store-processes.ts'

const { O_RDWR, O_RDONLY } = constants
const OWNER = { uid: 1, gid: 1 }
/** Bytes that are written or not together; the borders of windows lie within one. */
const CELL = 1_000
/** More than two windows. */
const CELLS = 150_000
const STEPS = 150
const LOOKS = 6
const RUN_MAX = 300

t.setTimeout(120_000)
const store = await startStore(t)

/** Every cell of a file: 1 for data. */
class Model {
  size = 0
  readonly #cells = new Uint8Array(CELLS)

  write(from: number, count: number): void {
    this.#cells.fill(1, from, from + count)
    this.size = Math.max(this.size, (from + count) * CELL)
  }

  resize(cells: number): void {
    this.#cells.fill(0, cells)
    this.size = cells * CELL
  }

  seek(position: number, wanted: 0 | 1): number | undefined {
    if (position >= this.size) return undefined
    for (let cell = Math.floor(position / CELL); cell * CELL < this.size; cell++) {
      if (this.#cells[cell] === wanted) return Math.max(position, cell * CELL)
    }
    return wanted === 0 ? this.size : undefined
  }
}

for (const seed of [1, 2, 3]) {
  void t.test(`a walk with seed ${seed}`, async (t) => {
    const pick = seeded(seed)
    const mounted = await store.mount()
    const model = new Model()
    const path = `/file-${seed}`
    let { fs }: { fs: FileSystem } = mounted
    let handle: Handle = await fs.create(path, 0o644, O_RDWR, OWNER)

    const look = async (what: string): Promise<void> => {
      for (let count = 0; count < LOOKS; count++) {
        const position = pick(model.size + 2 * CELL)
        const data = await fs.seekData(handle, position)
        if (data !== model.seek(position, 1))
          t.equal(data, model.seek(position, 1), `${what}: data`)
        const hole = await fs.seekHole(handle, position)
        if (hole !== model.seek(position, 0))
          t.equal(hole, model.seek(position, 0), `${what}: hole`)
      }
    }

    // So that it is never small enough to stand in its inode, where a hole becomes zeros.
    await fs.write(handle, Buffer.alloc(CELL, 1), (CELLS - 1) * CELL)
    model.write(CELLS - 1, 1)
    for (let step = 0; step < STEPS; step++) {
      const roll = pick(20)
      const from = pick(CELLS - RUN_MAX)
      const count = 1 + pick(RUN_MAX)
      if (roll < 14) {
        await fs.write(handle, Buffer.alloc(count * CELL, 1), from * CELL)
        model.write(from, count)
      } else if (roll < 16) {
        const cells = Math.max(1_000, CELLS - pick(RUN_MAX * 10))
        await fs.truncateHandle(handle, cells * CELL)
        model.resize(cells)
      } else if (roll < 19) {
        await fs.fsync(handle)
      } else {
        await fs.release(handle)
        handle = await fs.open(path, O_RDWR)
      }
      await look(`step ${step}`)
    }
    await fs.release(handle)
    await mounted.close()

    const other = await store.mount()
    fs = other.fs
    handle = await fs.open(path, O_RDONLY)
    await look('another mount')
    await fs.release(handle)
    await other.close()
    t.pass(`${STEPS} steps`)
  })
}
