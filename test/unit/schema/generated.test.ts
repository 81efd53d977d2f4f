/** The committed codecs are what the schemas give. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

t.test('schema/generated is up to date', async (t) => {
  const script = fileURLToPath(new URL('../../../../scripts/generate-schema.mjs', import.meta.url))
  const { status, stderr } = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' })
  t.equal(status, 0, stderr)
})
