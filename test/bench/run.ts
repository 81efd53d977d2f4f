/**
 * `npm run bench -- NAME... [OPTIONS]`: runs benchmarks by name, all of them without one. Each file
 * here that exports `run` is one; its header says what it measures, what to compare it with, and which
 * options it knows.
 */
import { readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const names = readdirSync(here)
  .filter((file) => file.endsWith('.js') && file !== 'run.js')
  .map((file) => basename(file, '.js'))

const args = process.argv.slice(2)
const firstOption = args.findIndex((arg) => arg.startsWith('--'))
const wanted = firstOption < 0 ? args : args.slice(0, firstOption)
const options = firstOption < 0 ? [] : args.slice(firstOption)
const unknown = wanted.filter((name) => !names.includes(name))
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(', ')}; there are: ${names.join(', ')}`)
  process.exit(64)
}
for (const name of wanted.length > 0 ? wanted : names) {
  const bench = (await import(`./${name}.js`)) as {
    run?: (options: readonly string[]) => Promise<void>
  }
  if (bench.run === undefined) continue
  console.log(`\n# ${name}`)
  await bench.run(options)
}
