/**
 * A random sequence of operations on two mounts of one tree, in lock-step with a model of a POSIX
 * tree: results, errno, content and attributes must agree at every step.
 *
 * While a file has data that was not flushed, only the mount that wrote it is asked for content;
 * after a flush, both. Repeat a failure with `SEED=<printed> STEPS=<steps> node …/vfs-random.test.js`.
 */
import { constants } from 'node:fs'
import t, { type Test } from 'tap'
import type { FileSystem, Handle } from '../../mount/vfs/api.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { ModelError, PosixModel, type ModelFile } from '../support/posix-model.ts'
import { startStore, type Mounted, type StoreProcesses } from '../support/store-processes.ts'
import { seeded } from '../support/seeded.ts'

const STEPS = Number(process.env['STEPS'] ?? 2_500)
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const OWNER = { uid: 1, gid: 2 }
const MIB = 1_048_576
const OPEN_MAX = 8
/** Steps between visits of another mount. */
const VISIT_STEPS = 100
const NAMES = ['a', 'b', 'c', 'dé', 'e e']

class Random {
  /** An integer in [0, below). */
  readonly below: (below: number) => number

  constructor(seed: number) {
    this.below = seeded(seed)
  }

  of<T>(list: readonly T[]): T | undefined {
    return list[this.below(list.length)]
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length)
    const start = this.below(256)
    const step = 1 + this.below(255)
    for (let at = 0; at < length; at++) bytes[at] = start + at * step + (at >> 8)
    return bytes
  }
}

interface Open {
  readonly mount: number
  readonly handle: Handle
  readonly file: ModelFile
  readonly append: boolean
}

class Run {
  readonly #random: Random
  readonly #mounts: readonly FileSystem[]
  readonly #model = new PosixModel()
  readonly #open: Open[] = []
  /** Files with unflushed data, and which mount has it. */
  readonly #dirty = new Map<ModelFile, number>()
  readonly history: string[] = []

  constructor(seed: number, mounts: readonly FileSystem[]) {
    this.#random = new Random(seed)
    this.#mounts = mounts
  }

  async step(): Promise<void> {
    const roll = this.#random.below(100)
    if (roll < 30) return this.#write()
    if (roll < 45) return this.#readHandle()
    if (roll < 50) return this.#truncateHandle()
    if (roll < 55) return this.#flush()
    if (roll < 60) return this.#release()
    if (roll < 68) return this.#openOrCreate()
    if (roll < 75) return this.#stat()
    if (roll < 78) return this.#list()
    if (roll < 80) return this.#attributes()
    if (roll < 83) return this.#attributesOfOpen()
    return this.#names()
  }

  /** Every name, attribute and byte, as both mounts see them. */
  async compareAll(): Promise<void> {
    while (this.#open.length > 0) await this.#release()
    for (const mount of this.#mounts) {
      for (const [path, node] of this.#model.paths()) {
        if (node.kind === 'file') await compareFile(mount, path, node)
        else if (node.kind === 'symlink') equal(await mount.readlink(path), node.target, path)
        else equal((await mount.list(path)).length, node.entries.size, path)
      }
    }
  }

  async #write(): Promise<void> {
    const open = this.#random.of(this.#open)
    if (open === undefined) return this.#openOrCreate()
    const holder = this.#dirty.get(open.file)
    if (holder !== undefined && holder !== open.mount) await this.#saveAll(open.file)
    const length = this.#length()
    const position = open.append ? open.file.bytes.size : this.#position(open.file)
    const bytes = this.#random.bytes(length)
    this.#note(`write ${open.mount}:${open.handle} ${length} at ${position}`)
    await this.#refresh(open)
    equal(await this.#mount(open.mount).write(open.handle, bytes, position), length, 'written')
    open.file.bytes.write(position, bytes)
    open.file.mtime = undefined
    this.#dirty.set(open.file, open.mount)
  }

  async #readHandle(): Promise<void> {
    const open = this.#random.of(this.#open)
    if (open === undefined) return
    const holder = this.#dirty.get(open.file)
    if (holder !== undefined && holder !== open.mount) return
    const length = this.#length()
    const position = this.#position(open.file)
    this.#note(`read ${open.mount}:${open.handle} ${length} at ${position}`)
    await this.#refresh(open)
    const expected = open.file.bytes.read(position, length)
    const into = Buffer.alloc(length, 0xdd)
    const count = await this.#mount(open.mount).read(open.handle, into, position)
    equal(count, expected.length, 'bytes read')
    equalBytes(into.subarray(0, count), expected, position)
  }

  async #truncateHandle(): Promise<void> {
    const open = this.#random.of(this.#open)
    if (open === undefined) return
    const holder = this.#dirty.get(open.file)
    if (holder !== undefined && holder !== open.mount) await this.#saveAll(open.file)
    const size = this.#position(open.file)
    this.#note(`truncate ${open.mount}:${open.handle} to ${size}`)
    await this.#refresh(open)
    await this.#mount(open.mount).truncateHandle(open.handle, size)
    open.file.bytes.truncate(size)
    open.file.mtime = undefined
    this.#dirty.set(open.file, open.mount)
  }

  async #flush(): Promise<void> {
    const open = this.#random.of(this.#open)
    if (open === undefined) return
    this.#note(`fsync ${open.mount}:${open.handle}`)
    await this.#mount(open.mount).fsync(open.handle)
    if (this.#dirty.get(open.file) === open.mount) this.#dirty.delete(open.file)
  }

  async #release(): Promise<void> {
    const index = this.#random.below(Math.max(1, this.#open.length))
    const [open] = this.#open.splice(index, 1)
    if (open === undefined) return
    this.#note(`close ${open.mount}:${open.handle}`)
    await this.#mount(open.mount).flush(open.handle)
    await this.#mount(open.mount).release(open.handle)
    if (this.#dirty.get(open.file) === open.mount) this.#dirty.delete(open.file)
  }

  async #openOrCreate(): Promise<void> {
    if (this.#open.length >= OPEN_MAX) return this.#release()
    const path = this.#path()
    const mount = this.#random.below(2)
    const exclusive = this.#random.below(10) === 0
    const append = this.#random.below(5) === 0
    const flags =
      constants.O_RDWR | (exclusive ? constants.O_EXCL : 0) | (append ? constants.O_APPEND : 0)
    const create = this.#random.below(3) > 0
    this.#note(`${create ? 'create' : 'open'} ${mount} ${path}${exclusive ? ' excl' : ''}`)
    let handle = 0
    let file: ModelFile | undefined
    await this.#both(
      async () => {
        handle = create
          ? await this.#mount(mount).create(path, 0o640, flags, OWNER)
          : await this.#mount(mount).open(path, flags)
      },
      () => {
        file = create ? this.#model.create(path, 0o640, exclusive) : this.#model.file(path)
      },
    )
    if (file !== undefined) this.#open.push({ mount, handle, file, append })
  }

  async #stat(): Promise<void> {
    const path = this.#random.below(20) === 0 ? '/' : this.#path()
    const mount = this.#random.below(2)
    this.#note(`stat ${mount} ${path}`)
    await this.#both(
      async () => this.#compareStat(mount, path),
      () => void this.#model.find(path),
    )
  }

  async #compareStat(mount: number, path: string): Promise<void> {
    const stat = await this.#mount(mount).stat(path)
    const node = this.#model.find(path)
    equal(stat.mode & 0o7777, node.mode, 'mode')
    if (node.kind === 'directory') {
      const below = [...node.entries.values()].filter(({ kind }) => kind === 'directory')
      return equal(stat.nlink, 2 + below.length, 'links of a directory')
    }
    equal(stat.nlink, node.links, 'links')
    if (node.kind === 'symlink') return equal(stat.size, Buffer.byteLength(node.target), 'size')
    const holder = this.#dirty.get(node)
    if (holder !== undefined && holder !== mount) return undefined
    equal(stat.size, node.bytes.size, 'size')
    if (node.mtime !== undefined) equal(stat.mtime, node.mtime, 'mtime')
    return undefined
  }

  async #list(): Promise<void> {
    const path = this.#random.below(4) === 0 ? '/' : this.#path()
    const mount = this.#random.below(2)
    this.#note(`list ${mount} ${path}`)
    let names = ''
    let expected = ''
    await this.#both(
      async () => {
        const entries = await this.#mount(mount).list(path)
        names = entries
          .map(({ name }) => name)
          .sort()
          .join('|')
      },
      () => {
        const node = this.#model.find(path)
        if (node.kind !== 'directory') throw new ModelError('ENOTDIR')
        expected = [...node.entries.keys()].sort().join('|')
      },
    )
    equal(names, expected, 'names')
  }

  async #attributes(): Promise<void> {
    const path = this.#path()
    const mount = this.#random.below(2)
    if (this.#random.below(2) === 0) {
      const mode = this.#random.below(0o1000)
      this.#note(`chmod ${mount} ${path} ${mode.toString(8)}`)
      return this.#both(
        async () => this.#mount(mount).chmod(path, mode),
        () => (this.#model.find(path).mode = mode),
      )
    }
    const mtime = BigInt(this.#random.below(2 ** 31)) * 1_000n
    this.#note(`utimens ${mount} ${path} ${mtime}`)
    const node = this.#model.paths().find(([at]) => at === path)?.[1]
    // Set by one mount while the other has data to save, the save's own time comes later and wins.
    if (node?.kind === 'file' && this.#dirty.has(node)) await this.#saveAll(node)
    return this.#both(
      async () => this.#mount(mount).utimens(path, 1_000n, mtime),
      () => {
        const found = this.#model.find(path)
        if (found.kind === 'file') found.mtime = mtime
      },
    )
  }

  /** By handle, also when the file has no name any more. */
  async #attributesOfOpen(): Promise<void> {
    const open = this.#random.of(this.#open)
    if (open === undefined) return
    const { mount, handle, file } = open
    const holder = this.#dirty.get(file)
    if (holder !== undefined) await this.#saveAll(file)
    const fs = this.#mount(mount)
    const mode = this.#random.below(0o1000)
    const mtime = BigInt(this.#random.below(2 ** 31)) * 1_000n
    this.#note(`chmod ${mount}:${handle} ${mode.toString(8)}, utimens ${mtime}`)
    await fs.chmod(handle, mode)
    await fs.utimens(handle, 1_000n, mtime)
    file.mode = mode
    file.mtime = mtime
    const stat = await fs.statHandle(handle)
    equal(stat.mode & 0o7777, mode, 'mode of an open file')
    equal(stat.mtime, mtime, 'mtime of an open file')
    equal(stat.nlink, file.links, 'links of an open file')
  }

  async #names(): Promise<void> {
    const mount = this.#random.below(2)
    const fs = this.#mount(mount)
    const path = this.#path()
    const other = this.#path()
    const roll = this.#random.below(12)
    const [what, real, model]: [string, () => Promise<unknown>, () => unknown] =
      roll < 3
        ? ['mkdir', async () => fs.mkdir(path, 0o750, OWNER), () => this.#model.mkdir(path, 0o750)]
        : roll < 4
          ? ['rmdir', async () => fs.rmdir(path), () => this.#model.rmdir(path)]
          : roll < 6
            ? ['unlink', async () => fs.unlink(path), () => this.#model.unlink(path)]
            : roll < 9
              ? [
                  'rename',
                  async () => fs.rename(path, other),
                  () => this.#model.rename(path, other),
                ]
              : roll < 10
                ? ['link', async () => fs.link(path, other), () => this.#model.link(path, other)]
                : roll < 11
                  ? [
                      'symlink',
                      async () => fs.symlink('to/ä', path, OWNER),
                      () => this.#model.symlink('to/ä', path),
                    ]
                  : [
                      'truncate',
                      async () => fs.truncate(path, 70_000),
                      () => this.#truncateByName(mount, path),
                    ]
    const file = this.#model.paths().find(([at]) => at === path)?.[1]
    if (what === 'truncate' && file?.kind === 'file') await this.#saveAll(file)
    this.#note(`${what} ${mount} ${path} ${other}`)
    await this.#both(real, model)
  }

  #truncateByName(_mount: number, path: string): void {
    const file = this.#model.file(path)
    file.bytes.truncate(70_000)
    file.mtime = undefined
  }

  /** Both must succeed, or fail with the same errno. */
  async #both(real: () => Promise<unknown>, model: () => unknown): Promise<void> {
    let expected = 'success'
    let got = 'success'
    try {
      await real()
    } catch (error) {
      if (!(error instanceof DfsError)) throw error
      got = error.errno
    }
    try {
      model()
    } catch (error) {
      if (!(error instanceof ModelError)) throw error
      expected = error.errno
    }
    equal(got, expected, 'outcome')
  }

  /** What opening the file again would do: another mount may have changed it since. */
  async #refresh({ mount, handle }: Open): Promise<void> {
    await this.#mount(mount).statHandle(handle)
  }

  async #saveAll(file: ModelFile): Promise<void> {
    const holder = this.#dirty.get(file)
    const open = this.#open.find((each) => each.file === file && each.mount === holder)
    if (open === undefined) return
    await this.#mount(open.mount).fsync(open.handle)
    this.#dirty.delete(file)
  }

  #mount(index: number): FileSystem {
    const fs = this.#mounts[index]
    if (fs === undefined) throw new Error(`there is no mount ${index}`)
    return fs
  }

  /** A path that exists, would be new, or makes no sense. */
  #path(): string {
    const existing = this.#model.paths()
    const [at] = this.#random.of(existing) ?? ['']
    if (this.#random.below(3) > 0 && at !== '') return at
    const depth = at.split('/').length
    const directory = depth > 4 || this.#random.below(3) === 0 ? '' : at
    return `${directory}/${this.#random.of(NAMES)}`
  }

  #length(): number {
    const roll = this.#random.below(10)
    if (roll < 5) return 1 + this.#random.below(200)
    if (roll < 8) return 1 + this.#random.below(20_000)
    return 1 + this.#random.below(roll === 8 ? 140_000 : 700_000)
  }

  #position(file: ModelFile): number {
    const roll = this.#random.below(12)
    if (roll < 4) return this.#random.below(file.bytes.size + 1)
    if (roll < 7) return file.bytes.size
    if (roll < 10) return this.#random.below(300_000)
    if (roll < 11) return 65_536 * this.#random.below(20)
    return 64 * MIB - this.#random.below(200_000)
  }

  #note(what: string): void {
    this.history.push(what)
  }
}

async function compareFile(fs: FileSystem, path: string, file: ModelFile): Promise<void> {
  const handle = await fs.open(path, constants.O_RDONLY)
  equal((await fs.statHandle(handle)).size, file.bytes.size, `${path}: size`)
  for (const { from, to } of file.bytes.written()) {
    const into = Buffer.alloc(to - from)
    equal(await fs.read(handle, into, from), to - from, `${path}: length at ${from}`)
    equalBytes(into, file.bytes.read(from, to - from), from)
  }
  await fs.release(handle)
}

function equal<T>(got: T, expected: T, what: string): void {
  if (got !== expected) throw new Error(`${what}: ${String(got)} instead of ${String(expected)}`)
}

function equalBytes(got: Buffer, expected: Buffer, position: number): void {
  const at = got.findIndex((byte, index) => byte !== expected[index])
  if (at === -1) return
  const end = got.findLastIndex((byte, index) => byte !== expected[index])
  const [one, other] = [got, expected].map((bytes) => bytes.toString('hex', at, at + 8))
  throw new Error(`bytes ${position + at} to ${position + end}: ${one} instead of ${other}`)
}

/** `visits`: one mount, which holds the lease but for when another one comes by. */
async function lockStep(
  t: Test,
  store: StoreProcesses,
  seed: number,
  visits = false,
): Promise<void> {
  const mounts: Mounted[] = [await store.mount()]
  if (!visits) mounts.push(await store.mount({ cacheBytes: 4 * MIB }))
  const all = mounts.map(({ fs }) => fs)
  const run = new Run(seed, visits ? [...all, ...all] : all)
  let step = 0
  try {
    for (; step < STEPS; step++) {
      await run.step()
      if (visits && step % VISIT_STEPS === 0) await visit(store)
    }
    await run.compareAll()
    t.pass(`${STEPS} steps from seed ${seed}`)
  } catch (error) {
    const history = run.history.slice(-30)
    t.fail(
      `SEED=${seed} at step ${step}: ${error instanceof Error ? error.stack : String(error)}`,
      {
        history,
        log: mounts.flatMap(({ log }) => log.errors()),
      },
    )
  }
  t.same(
    mounts.flatMap(({ log }) => log.errors()),
    [],
    'no mount logged an error',
  )
  for (const mount of mounts) await mount.close()
}

/** Another mount looks at the tree, and goes. */
async function visit(store: StoreProcesses): Promise<void> {
  const visitor = await store.mount()
  await visitor.fs.list('/')
  await visitor.close()
}

t.setTimeout(3_600_000)

void t.test('two mounts agree with a model at every step', async (t) => {
  const store = await startStore(t)
  await lockStep(t, store, SEED)
})

void t.test(
  'a mount that holds the lease, and loses it now and then, agrees with a model',
  async (t) => {
    const store = await startStore(t)
    await lockStep(t, store, SEED + 1, true)
  },
)
