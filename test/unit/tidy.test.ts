/**
 * House rules that no linter knows: a source opens by saying what it is for, stays within a size
 * that fits in the head, carries no leftover markers and no path of a machine; every status and
 * every limit has one meaning; every folder has its line in ARCHITECTURE.md.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { STATUS, statusFromWire, type StatusName } from '../../schema/wire/status.ts'
import { methods } from '../../schema/methods.ts'
import { repository } from '../support/cluster.ts'

const LINES_MAX = 400
/** A test is a list of claims, and may be a longer one. */
const TEST_LINES_MAX = 500
const FOLDERS = ['bin', 'mount', 'schema', 'server', 'test']

const sources = FOLDERS.flatMap((folder) =>
  readdirSync(join(repository, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.startsWith('generated'))
    .map((path) => join(folder, path)),
)

t.test('every source keeps the house rules', async (t) => {
  t.ok(sources.length > 50, `${sources.length} sources`)
  for (const path of sources) {
    const text = readFileSync(join(repository, path), 'utf8')
    const lines = text.split('\n').length
    const isTest = path.startsWith('test')
    const linesMax = isTest ? TEST_LINES_MAX : LINES_MAX
    if (lines > linesMax) t.fail(`${path} has ${lines} lines, more than ${linesMax}`)
    if (!isTest && !/^(#!.*\n)?\/\*\*/.test(text)) {
      t.fail(`${path} does not open by saying what it is for`)
    }
    const leftover = /\b(FIX[M]E|TO[D]O|X[X]X|HAC[K])\b/.exec(text)
    if (leftover !== null) t.fail(`${path} carries the marker ${leftover[0]}`)
  }
})

t.test('a status has one number, and comes back from it', async (t) => {
  for (const name of Object.keys(STATUS) as StatusName[]) {
    t.equal(statusFromWire(STATUS[name].wire), name)
  }
})

t.test('a method has one id, and the name of its row', async (t) => {
  const rows = Object.entries(methods)
  t.equal(new Set(rows.map(([, row]) => row.id)).size, rows.length)
  for (const [name, row] of rows) t.equal(row.name, name)
})

t.test('every source folder has its line in ARCHITECTURE.md', async (t) => {
  const map = readFileSync(join(repository, 'ARCHITECTURE.md'), 'utf8')
  const folders = new Set(
    sources.filter((path) => !path.startsWith('test')).map((path) => path.replace(/\/[^/]*$/, '')),
  )
  for (const folder of folders) t.ok(map.includes(`${folder}/`), `${folder}/ is on the map`)
})
