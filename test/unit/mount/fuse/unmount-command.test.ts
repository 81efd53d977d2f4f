/**
 * The unmount command, with programs of the test in its place.
 */
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { unmountLazily, unmountOnce } from '../../../../mount/fuse/unmount-command.ts'

const names = ['fusermount3', 'fusermount', 'umount'] as const

/** Lets the command find these shell scripts only; returns their folder. */
function provide(t: Test, scripts: Partial<Record<(typeof names)[number], string>>): string {
  const folder = t.testdir({})
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(folder, name), 0o755)
  }
  const { PATH: before } = process.env
  process.env['PATH'] = folder
  t.teardown(() => {
    process.env['PATH'] = before
  })
  return folder
}

/** Processes that this one has started and that it was not told the end of. */
function children(): number {
  return readdirSync('/proc/self/task')
    .map((task) => readFileSync(`/proc/self/task/${task}/children`, 'utf8'))
    .join(' ')
    .split(' ')
    .filter((pid) => pid !== '').length
}

async function childrenEnd(): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 10) {
    if (children() === 0) return true
    await pause(10)
  }
  return false
}

t.test('a refusal is told in the words of the command', async (t) => {
  provide(t, { fusermount3: 'echo "no: $*" >&2; exit 1' })
  await t.rejects(unmountOnce('/some where'), {
    code: 'notPermitted',
    message: /fusermount3 cannot unmount \/some where: no: -u -- \/some where$/,
  })
  t.ok(await childrenEnd(), 'and nothing is waited for')
})

t.test('the next program is taken when one is missing', async (t) => {
  const folder = provide(t, { umount: 'echo "$*" >"${0%/*}/said"' })
  await unmountLazily('/somewhere')
  t.equal(readFileSync(join(folder, 'said'), 'utf8'), '--no-canonicalize --lazy -- /somewhere\n')
  t.ok(await childrenEnd())
  provide(t, {})
  await t.rejects(unmountOnce('/somewhere'), { code: 'notSupported' })
})

t.test('a command that hangs is ended', async (t) => {
  provide(t, { fusermount3: '/bin/sleep 60' })
  await t.rejects(unmountOnce('/somewhere'), { message: /no answer within 5000 ms/ })
  t.ok(await childrenEnd())
})
