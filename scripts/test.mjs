#!/usr/bin/env node
/**
 * `npm test`: sets up, runs tap, and ends with one line, `N passed, N failed, N skipped`, that counts
 * the tests (not their assertions) of all files. Arguments go to tap: `npm test -- dist/test/unit`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setup } from './setup.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const results = join(root, '.tap/results.tap')

setup()
mkdirSync(join(root, '.tap'), { recursive: true })
rmSync(results, { force: true })
const tap = join(root, 'node_modules/tap/dist/esm/run.mjs')
const given = process.argv.slice(2)
// Named, because tap looks for tests in no folder that git ignores.
const files = given.length > 0 ? given : ['dist/test/unit', 'dist/test/integration']
const reporter = process.stdout.isTTY ? 'terse' : 'silent'
const args = [tap, 'run', `--reporter=${reporter}`, `--output-file=${results}`, ...files]
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })

const count = { passed: 0, failed: 0, skipped: 0 }
const lines = existsSync(results) ? readFileSync(results, 'utf8').split('\n') : []
for (const line of lines) {
  // A file's own tests stand one level in; a file that dies without any stands at the outside.
  const match = /^(?: {4})(not )?ok \d+(.*)$/.exec(line)
  if (match === null) continue
  if (/# SKIP/i.test(match[2])) count.skipped++
  else if (match[1] === undefined) count.passed++
  else count.failed++
}
// Without a terminal the reporter is silent: say what failed, from the test down to the assertion.
for (const line of lines) if (/^ *not ok /.test(line)) console.log(line)
if (status !== 0 && count.failed === 0) count.failed = 1
const skipped = count.skipped === 0 ? '' : `, ${count.skipped} skipped`
console.log(`${count.passed} passed, ${count.failed} failed${skipped}`)
process.exit(status ?? 1)
