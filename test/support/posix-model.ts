/**
 * A POSIX tree as plain data: what the file system under test is compared with. Each operation
 * either does what it says or throws a {@link ModelError} with the errno that Linux gives.
 */
import { SparseBytes } from './sparse-bytes.ts'

export class ModelError extends Error {
  override readonly name = 'ModelError'
  readonly errno: string

  constructor(errno: string) {
    super(errno)
    this.errno = errno
  }
}

export interface ModelFile {
  readonly kind: 'file'
  readonly bytes: SparseBytes
  mode: number
  links: number
  mtime: bigint | undefined
}
export interface ModelSymlink {
  readonly kind: 'symlink'
  readonly target: string
  mode: number
  links: number
}
export interface ModelDirectory {
  readonly kind: 'directory'
  readonly entries: Map<string, ModelNode>
  mode: number
}
export type ModelNode = ModelFile | ModelSymlink | ModelDirectory

interface Place {
  readonly directory: ModelDirectory
  readonly name: string
  readonly node: ModelNode | undefined
}

export class PosixModel {
  readonly root: ModelDirectory = { kind: 'directory', entries: new Map(), mode: 0o700 }

  /** Every path but the root, with what it names, parents first. */
  paths(): [string, ModelNode][] {
    const found: [string, ModelNode][] = []
    const walk = (directory: ModelDirectory, at: string): void => {
      for (const [name, node] of directory.entries) {
        found.push([`${at}/${name}`, node])
        if (node.kind === 'directory') walk(node, `${at}/${name}`)
      }
    }
    walk(this.root, '')
    return found
  }

  find(path: string): ModelNode {
    if (path === '/') return this.root
    const { node } = this.#place(path)
    if (node === undefined) throw new ModelError('ENOENT')
    return node
  }

  file(path: string): ModelFile {
    const node = this.find(path)
    if (node.kind === 'directory') throw new ModelError('EISDIR')
    if (node.kind === 'symlink') throw new ModelError('ENOTSUP')
    return node
  }

  /** open(2) with O_CREAT and perhaps O_EXCL. */
  create(path: string, mode: number, exclusive: boolean): ModelFile {
    const { directory, name, node } = this.#place(path)
    if (node !== undefined) {
      if (exclusive) throw new ModelError('EEXIST')
      return this.file(path)
    }
    const bytes = new SparseBytes()
    const file: ModelFile = { kind: 'file', bytes, mode, links: 1, mtime: undefined }
    directory.entries.set(name, file)
    return file
  }

  mkdir(path: string, mode: number): void {
    this.#add(path, { kind: 'directory', entries: new Map(), mode })
  }

  symlink(target: string, path: string): void {
    this.#add(path, { kind: 'symlink', target, mode: 0o777, links: 1 })
  }

  readlink(path: string): string {
    const node = this.find(path)
    if (node.kind !== 'symlink') throw new ModelError('EINVAL')
    return node.target
  }

  link(existing: string, path: string): void {
    const node = this.find(existing)
    const place = this.#place(path)
    if (node.kind === 'directory') throw new ModelError('EPERM')
    if (place.node !== undefined) throw new ModelError('EEXIST')
    place.directory.entries.set(place.name, node)
    node.links++
  }

  unlink(path: string): void {
    const { directory, name, node } = this.#existing(path)
    if (node.kind === 'directory') throw new ModelError('EISDIR')
    directory.entries.delete(name)
    node.links--
  }

  rmdir(path: string): void {
    const { directory, name, node } = this.#existing(path)
    if (node.kind !== 'directory') throw new ModelError('ENOTDIR')
    if (node.entries.size > 0) throw new ModelError('ENOTEMPTY')
    directory.entries.delete(name)
  }

  rename(from: string, to: string): void {
    const source = this.#existing(from)
    if (to.startsWith(`${from}/`)) throw new ModelError('EINVAL')
    const target = this.#place(to)
    if (source.node === target.node) return
    if (target.node !== undefined) {
      const directory = source.node.kind === 'directory'
      if (directory && target.node.kind !== 'directory') throw new ModelError('ENOTDIR')
      if (!directory && target.node.kind === 'directory') throw new ModelError('EISDIR')
      if (target.node.kind !== 'directory') target.node.links--
      else if (target.node.entries.size > 0) throw new ModelError('ENOTEMPTY')
    }
    source.directory.entries.delete(source.name)
    target.directory.entries.set(target.name, source.node)
  }

  #add(path: string, added: ModelNode): void {
    const { directory, name, node } = this.#place(path)
    if (node !== undefined) throw new ModelError('EEXIST')
    directory.entries.set(name, added)
  }

  #existing(path: string): Place & { readonly node: ModelNode } {
    const { directory, name, node } = this.#place(path)
    if (node === undefined) throw new ModelError('ENOENT')
    return { directory, name, node }
  }

  #place(path: string): Place {
    const names = path.split('/').slice(1)
    const name = names.pop() ?? ''
    let directory = this.root
    for (const step of names) {
      const next = directory.entries.get(step)
      if (next === undefined) throw new ModelError('ENOENT')
      if (next.kind !== 'directory') throw new ModelError('ENOTDIR')
      directory = next
    }
    return { directory, name, node: directory.entries.get(name) }
  }
}
