/**
 * Writing and reading FlatBuffers, for the generated codecs.
 *
 * FlatBuffers for JavaScript has no verifier. `Reader` is one: it looks only inside the bytes it was
 * given, and the bytes it has handed out can never exceed the bytes received, so that offsets that
 * point at one vector a million times are refused instead of multiplied. Format:
 * https://flatbuffers.dev/internals/
 */
import { Builder } from 'flatbuffers'
import type { Codec } from './codec.ts'
import { smallBytes } from './small-bytes.ts'
import { DfsError } from './status.ts'

/** flatbuffers' Builder with what the generated code needs beside it. */
export class Encoder extends Builder {
  addFieldU64(field: number, value: number, otherwise: number): void {
    if (value === otherwise) return
    this.prep(8, 0)
    this.writeU64(value)
    this.slot(field)
  }

  /** Two halves instead of a bigint: ids and sizes are on every hot path. */
  writeU64(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new RangeError(`${value} is not a whole number from 0 to 2^53 - 1`)
    }
    this.writeInt32(Math.floor(value / 0x1_0000_0000))
    this.writeInt32(value | 0)
  }

  text(value: string): number {
    return value.length === 0 ? 0 : this.createString(value)
  }

  bytes(value: Uint8Array): number {
    return value.length === 0 ? 0 : this.createByteVector(value)
  }

  texts(values: readonly string[]): number {
    return this.#offsets(values.map((value) => this.createString(value)))
  }

  tables<T>(values: readonly T[], put: (b: Encoder, value: T) => number): number {
    return this.#offsets(values.map((value) => put(this, value)))
  }

  structs<T>(
    values: readonly T[],
    bytes: number,
    align: number,
    put: (b: Encoder, value: T) => void,
  ): number {
    if (values.length === 0) return 0
    this.startVector(bytes, values.length, align)
    for (let i = values.length - 1; i >= 0; i--) put(this, values[i] as T)
    return this.endVector()
  }

  numbers32(values: readonly number[]): number {
    if (values.length === 0) return 0
    this.startVector(4, values.length, 4)
    for (let i = values.length - 1; i >= 0; i--) this.addInt32(values[i] as number)
    return this.endVector()
  }

  numbers64(values: readonly number[]): number {
    if (values.length === 0) return 0
    this.startVector(8, values.length, 8)
    for (let i = values.length - 1; i >= 0; i--) {
      this.prep(8, 0)
      this.writeU64(values[i] as number)
    }
    return this.endVector()
  }

  #offsets(offsets: readonly number[]): number {
    if (offsets.length === 0) return 0
    this.startVector(4, offsets.length, 4)
    for (let i = offsets.length - 1; i >= 0; i--) this.addOffset(offsets[i] as number)
    return this.endVector()
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Reads one message; every method throws RangeError or `malformed` for what is out of bounds. */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #budget: number

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#budget = bytes.byteLength
  }

  /** Accounts for bytes handed out; see the file header. */
  spend(bytes: number): void {
    this.#budget -= bytes
    if (this.#budget < 0) throw new RangeError('more content than bytes')
  }

  root(): number {
    return this.#table(0)
  }

  /** Position of a table's field, 0 when it is absent. */
  field(table: number, id: number): number {
    const vtable = table - this.#view.getInt32(table, true)
    const slot = 4 + 2 * id
    if (slot + 2 > this.#view.getUint16(vtable, true)) return 0
    const offset = this.#view.getUint16(vtable + slot, true)
    return offset === 0 ? 0 : table + offset
  }

  u8(at: number): number {
    return this.#view.getUint8(at)
  }
  u16(at: number): number {
    return this.#view.getUint16(at, true)
  }
  u32(at: number): number {
    return this.#view.getUint32(at, true)
  }
  i64(at: number): bigint {
    return this.#view.getBigInt64(at, true)
  }
  u64(at: number): number {
    const high = this.#view.getUint32(at + 4, true)
    if (high > 0x1f_ffff) throw new RangeError('number above 2^53 - 1')
    return high * 0x1_0000_0000 + this.#view.getUint32(at, true)
  }

  boolField(table: number, id: number): boolean {
    return this.u8Field(table, id) !== 0
  }
  u8Field(table: number, id: number): number {
    const at = this.field(table, id)
    return at === 0 ? 0 : this.u8(at)
  }
  u16Field(table: number, id: number): number {
    const at = this.field(table, id)
    return at === 0 ? 0 : this.u16(at)
  }
  u32Field(table: number, id: number): number {
    const at = this.field(table, id)
    return at === 0 ? 0 : this.u32(at)
  }
  i64Field(table: number, id: number): bigint {
    const at = this.field(table, id)
    return at === 0 ? 0n : this.i64(at)
  }
  u64Field(table: number, id: number): number {
    const at = this.field(table, id)
    return at === 0 ? 0 : this.u64(at)
  }

  required<T>(at: number, get: (r: Reader, table: number) => T): T {
    if (at === 0) throw new RangeError('a required table is absent')
    return get(this, this.#table(at))
  }

  optional<T>(at: number, get: (r: Reader, table: number) => T): T | undefined {
    return at === 0 ? undefined : get(this, this.#table(at))
  }

  /** A copy: the message's buffer may be reused. */
  byteVector(at: number): Uint8Array {
    if (at === 0) return new Uint8Array(0)
    const start = this.#vector(at, 1)
    return this.#bytes.slice(start, start + this.#view.getUint32(start - 4, true))
  }

  text(at: number): string {
    if (at === 0) return ''
    const start = this.#vector(at, 1)
    return utf8.decode(this.#bytes.subarray(start, start + this.#view.getUint32(start - 4, true)))
  }

  texts(at: number): string[] {
    return this.#each(at, 4, (element) => this.text(element))
  }

  tables<T>(at: number, get: (r: Reader, table: number) => T): T[] {
    return this.#each(at, 4, (element) => get(this, this.#table(element)))
  }

  structs<T>(at: number, bytes: number, get: (r: Reader, at: number) => T): T[] {
    return this.#each(at, bytes, (element) => get(this, element))
  }

  numbers32(at: number): number[] {
    return this.#each(at, 4, (element) => this.u32(element))
  }

  numbers64(at: number): number[] {
    return this.#each(at, 8, (element) => this.u64(element))
  }

  #each<T>(at: number, bytes: number, get: (element: number) => T): T[] {
    if (at === 0) return []
    const start = this.#vector(at, bytes)
    const count = this.#view.getUint32(start - 4, true)
    const out: T[] = []
    for (let i = 0; i < count; i++) out.push(get(start + i * bytes))
    return out
  }

  /** Follows an offset to a table; a table costs at least the offset to its vtable. */
  #table(at: number): number {
    this.spend(4)
    return at + this.#view.getUint32(at, true)
  }

  /** Follows an offset to a vector and returns where its elements start, all of them in bounds. */
  #vector(at: number, elementBytes: number): number {
    const start = at + this.#view.getUint32(at, true) + 4
    const bytes = this.#view.getUint32(start - 4, true) * elementBytes
    if (start + bytes > this.#bytes.byteLength) throw new RangeError('a vector ends outside')
    this.spend(bytes)
    return start
  }
}

const encoder = new Encoder(4_096)

/** Makes a codec of a generated pair of functions; `put` returns the table's offset. */
export function codec<T>(
  name: string,
  put: (b: Encoder, value: T) => number,
  get: (r: Reader, table: number) => T,
): Codec<T> {
  return {
    name,
    encode(value) {
      encoder.clear()
      encoder.finish(put(encoder, value))
      const encoded = encoder.asUint8Array()
      const bytes = smallBytes(encoded.length)
      bytes.set(encoded)
      return bytes
    },
    decode(bytes) {
      try {
        const reader = new Reader(bytes)
        return get(reader, reader.root())
      } catch (error) {
        // TypeError: bytes that are not UTF-8. Both only ever come from the bytes.
        if (!(error instanceof RangeError) && !(error instanceof TypeError)) throw error
        throw new DfsError('frameMalformed', `not a ${name} message: ${error.message}`, {
          cause: error,
        })
      }
    },
  }
}
