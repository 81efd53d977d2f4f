/**
 * A seeded walk of operations on a mount of a real cluster and on a local directory: each must have
 * the same result or errno in both, and the trees must be equal whenever they are compared.
 *
 * DFS_TEST_SEED repeats a walk, DFS_TEST_STEPS makes it longer. One that fails is made short and told
 * step by step.
 */
import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { noMounts, startCluster } from '../support/cluster.ts'
import { shrink } from '../support/shrink.ts'

const seed = Number(process.env['DFS_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const steps = Number(process.env['DFS_TEST_STEPS'] ?? 3_000)
const compareEvery = 100
/** How often a failing walk is repeated to find what of it matters. */
const shrinkAttemptsMax = 300
/** Larger than a file kept inline, than a block, and than one request of the kernel. */
const lengths = [0, 1, 100, 4_096, 4_097, 70_000, 200_000]
const names = ['a', 'b', 'c', 'd']
const handlesMax = 4

/** Mulberry32: small, seeded, good enough to choose. */
function randomSource(start: number): (below: number) => number {
  let state = start
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** One of the two directories that must stay equal, with its open files. */
class Side {
  readonly root: string
  readonly handles: number[] = []

  constructor(root: string) {
    this.root = root
  }

  at(path: string): string {
    return join(this.root, path)
  }
}

interface Operation {
  readonly name: string
  run(side: Side): unknown
}

type Outcome = { readonly value: unknown } | { readonly errno: string }

function attempt(operation: Operation, side: Side): Outcome {
  try {
    return { value: operation.run(side) ?? null }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    return { errno: code }
  }
}

class Walk {
  readonly #below: (below: number) => number
  readonly #local: Side
  readonly #mounted: Side

  constructor(start: number, local: Side, mounted: Side) {
    this.#below = randomSource(start)
    this.#local = local
    this.#mounted = mounted
  }

  /** Does one operation in both; returns what it was, and both outcomes. */
  step(): { operation: Operation; local: Outcome; mounted: Outcome } {
    const operation = this.#choose()
    const local = attempt(operation, this.#local)
    const mounted = attempt(operation, this.#mounted)
    return { operation, local, mounted }
  }

  #choose(): Operation {
    const makers = [
      () => this.#content(),
      () => this.#content(),
      () => this.#tree(),
      () => this.#tree(),
      () => this.#attributes(),
      () => this.#handle(),
      () => this.#handle(),
    ]
    return this.#pick(makers)()
  }

  #content(): Operation {
    const path = this.#path()
    const bytes = this.#bytes()
    const size = this.#pick(lengths)
    return this.#pick<Operation>([
      { name: `write ${path} ${bytes.length}`, run: (s) => writeFileSync(s.at(path), bytes) },
      {
        name: `append ${path} ${bytes.length}`,
        run: (s) => writeFileSync(s.at(path), bytes, { flag: 'a' }),
      },
      {
        name: `make ${path}`,
        run: (s) => writeFileSync(s.at(path), bytes, { flag: 'wx' }),
      },
      { name: `truncate ${path} ${size}`, run: (s) => truncateSync(s.at(path), size) },
      { name: `read ${path}`, run: (s) => readFileSync(s.at(path)).toString('latin1') },
    ])
  }

  #tree(): Operation {
    const path = this.#path()
    const other = this.#path()
    return this.#pick<Operation>([
      { name: `mkdir ${path}`, run: (s) => mkdirSync(s.at(path)) },
      { name: `rmdir ${path}`, run: (s) => this.#rmdir(s, path) },
      { name: `unlink ${path}`, run: (s) => unlinkSync(s.at(path)) },
      { name: `rename ${path} ${other}`, run: (s) => renameSync(s.at(path), s.at(other)) },
      { name: `rename ${path} ${other}`, run: (s) => renameSync(s.at(path), s.at(other)) },
      { name: `link ${path} ${other}`, run: (s) => this.#link(s, path, other) },
      { name: `symlink ${other} ${path}`, run: (s) => symlinkSync(`x/${other}`, s.at(path)) },
      { name: `readlink ${path}`, run: (s) => readlinkSync(s.at(path)) },
      { name: `list ${path}`, run: (s) => readdirSync(s.at(path)).sort() },
    ])
  }

  #attributes(): Operation {
    const path = this.#path()
    const mode = this.#pick([0o600, 0o644, 0o755])
    const seconds = this.#below(2_000_000_000)
    return this.#pick<Operation>([
      { name: `chmod ${path}`, run: (s) => chmodSync(s.at(path), mode) },
      {
        name: `utimes ${path}`,
        run: (s) => {
          utimesSync(s.at(path), seconds, seconds + 1)
          return [statSync(s.at(path)).atimeMs, statSync(s.at(path)).mtimeMs]
        },
      },
      { name: `lstat ${path}`, run: (s) => describe(s.at(path)) },
    ])
  }

  #handle(): Operation {
    const path = this.#path()
    const bytes = this.#bytes()
    const position = this.#pick(lengths)
    const index = this.#below(handlesMax)
    const of = (side: Side): number => side.handles[index % Math.max(1, side.handles.length)] ?? -1
    if (this.#local.handles.length === 0 || this.#below(4) === 0) {
      return { name: `open ${path}`, run: (s) => open(s, path) }
    }
    return this.#pick<Operation>([
      {
        name: `handle ${index} write ${bytes.length} at ${position}`,
        run: (s) => writeSync(of(s), bytes, 0, bytes.length, position),
      },
      {
        name: `handle ${index} read at ${position}`,
        run: (s) => {
          const into = Buffer.alloc(10_000)
          return into.toString('latin1', 0, readSync(of(s), into, 0, into.length, position))
        },
      },
      { name: `handle ${index} truncate ${position}`, run: (s) => ftruncateSync(of(s), position) },
      { name: `handle ${index} sync`, run: (s) => fsyncSync(of(s)) },
      { name: `handle ${index} stat`, run: (s) => fstatSync(of(s)).size + fstatSync(of(s)).nlink },
      { name: `handle ${index} close`, run: (s) => close(s, index) },
    ])
  }

  /** A removed file that is open cannot be read once its directory is gone (docs/fuse-limits.md). */
  #rmdir(side: Side, path: string): void {
    for (let index = side.handles.length - 1; index >= 0; index--) {
      if (fstatSync(side.handles[index] ?? -1).nlink === 0) close(side, index)
    }
    rmdirSync(side.at(path))
  }

  /** Two names of one file have pages of their own while open (docs/fuse-limits.md). */
  #link(side: Side, path: string, other: string): void {
    const inode = lstatSync(side.at(path)).ino
    if (side.handles.some((handle) => fstatSync(handle).ino === inode)) return
    linkSync(side.at(path), side.at(other))
  }

  #path(): string {
    // Shallow ones more often: they are there more often.
    const depth = 1 + Math.min(this.#below(3), this.#below(3))
    return Array.from({ length: depth }, () => this.#pick(names)).join('/')
  }

  #bytes(): Buffer {
    return Buffer.alloc(this.#pick(lengths), this.#pick(names) + this.#below(1_000))
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)] as T
  }
}

function open(side: Side, path: string): void {
  if (side.handles.length >= handlesMax) return
  if (existsSync(side.at(path)) && statSync(side.at(path)).nlink > 1) return
  side.handles.push(openSync(side.at(path), 'r+'))
}

function close(side: Side, index: number): void {
  const [handle] = side.handles.splice(index % Math.max(1, side.handles.length), 1)
  if (handle !== undefined) closeSync(handle)
}

function describe(path: string): unknown {
  const stat = lstatSync(path)
  // The size and links of a directory differ from one file system to the next.
  return stat.isDirectory() ? stat.mode : [stat.mode, stat.size, stat.nlink, stat.uid]
}

/** The whole tree below `path`, as text that can be compared. */
function tree(path: string): unknown {
  const stat = lstatSync(path)
  if (stat.isSymbolicLink()) return `-> ${readlinkSync(path)}`
  if (stat.isFile()) return [describe(path), readFileSync(path).toString('latin1')]
  const entries = readdirSync(path).sort()
  return [describe(path), ...entries.map((name) => [name, tree(join(path, name))])]
}

t.setTimeout(120_000 + steps * 50)
const reason = noMounts()

t.test(
  `a random walk gives what a local disk gives, seed ${seed}`,
  { skip: reason ?? false },
  async (t) => {
    const cluster = startCluster(t, '--chunkservers', '1', '--racks', '1', '--replicas', '1')
    const localRoot = mkdtempSync(join(tmpdir(), 'dfs-local-'))
    const local = new Side(localRoot)
    const mounted = new Side(join(cluster.mount, 'walk'))
    mkdirSync(mounted.root, { mode: 0o700 })
    t.teardown(() => {
      for (const handle of [...local.handles, ...mounted.handles]) closeSync(handle)
      rmSync(localRoot, { recursive: true })
    })
    const walk = new Walk(seed, local, mounted)
    const trail: Operation[] = []
    const shortest = (): string => {
      const [localBase, mountedBase] = [`${localRoot}-again`, `${mounted.root}-again`]
      const fails = (history: readonly Operation[]): boolean =>
        differs(history, new Side(localBase), new Side(mountedBase))
      if (!fails(trail))
        return `not again when repeated; the last steps:\n${lines(trail.slice(-30))}`
      return lines(shrink(trail, fails, shrinkAttemptsMax))
    }
    let done = 0
    for (let n = 0; n < steps; n++) {
      const { operation, local: wanted, mounted: found } = walk.step()
      trail.push(operation)
      if ('value' in wanted) done++
      const looks = n % compareEvery === 0 || n === steps - 1
      const same =
        isDeepStrictEqual(wanted, found) &&
        (!looks || isDeepStrictEqual(tree(mounted.root), tree(local.root)))
      if (!same) {
        t.same(found, wanted, `step ${n} of seed ${seed}`)
        t.fail(`seed ${seed} differs; enough for it:\n${shortest()}`)
        return
      }
    }
    t.ok(done > steps / 4, `${done} of ${steps} operations had something to work on`)
  },
)

function lines(history: readonly Operation[]): string {
  return history.map(({ name }) => name).join('\n')
}

/** Whether a history, from the start in two new directories, ends differently in them. */
function differs(history: readonly Operation[], local: Side, mounted: Side): boolean {
  for (const { root } of [local, mounted]) mkdirSync(root, { mode: 0o700 })
  try {
    return (
      history.some(
        (operation) => !isDeepStrictEqual(attempt(operation, local), attempt(operation, mounted)),
      ) || !isDeepStrictEqual(tree(mounted.root), tree(local.root))
    )
  } finally {
    for (const { handles, root } of [local, mounted]) {
      for (const handle of handles) closeSync(handle)
      rmSync(root, { recursive: true, force: true })
    }
  }
}
