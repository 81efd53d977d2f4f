/**
 * Raises its own priority as the metadata server does, and prints as JSON what its threads have then and
 * what was logged.
 */
import { readdirSync } from 'node:fs'
import { getPriority } from 'node:os'
import { comeFirst } from '../../bin/runtime/priority.ts'

const said: string[] = []
const note = (_: object, text: string): void => void said.push(text)
comeFirst({ debug: note, info: note, warn: note, error: note })
const threads = readdirSync('/proc/self/task').map(Number)
const others = threads.filter((thread) => thread !== process.pid)
process.stdout.write(
  JSON.stringify({
    main: getPriority(process.pid),
    others: others.map((thread) => getPriority(thread)),
    said,
  }),
)
