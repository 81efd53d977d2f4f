#!/usr/bin/env node
/**
 * Compiles to dist/, drops what no source stands for any more, and makes the executables executable.
 * Also npm's `prepare`: a global install of the folder builds itself.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const tsc = join(root, 'node_modules/typescript/bin/tsc')

export function build() {
  prune()
  const { status } = spawnSync(process.execPath, [tsc], { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) {
    console.error('dfs: the build failed; the compiler said why above')
    process.exit(1)
  }
  for (const name of readdirSync(join(root, 'dist/bin'))) {
    if (name.endsWith('.js')) chmodSync(join(root, 'dist/bin', name), 0o755)
  }
}

/** A compiled test without a source would still be run. */
function prune() {
  const dist = join(root, 'dist')
  if (!existsSync(dist)) return
  for (const entry of readdirSync(dist, { recursive: true })) {
    if (!entry.endsWith('.js')) continue
    if (existsSync(join(root, entry.replace(/\.js$/, '.ts')))) continue
    rmSync(join(dist, entry))
    rmSync(join(dist, `${entry}.map`), { force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.env.DFS_NO_BUILD !== '1') {
  if (!existsSync(tsc)) {
    const env = { ...process.env, DFS_NO_BUILD: '1', npm_config_global: 'false' }
    const { status } = spawnSync('npm', ['ci'], { cwd: root, env, stdio: ['ignore', 2, 2] })
    if (status !== 0) process.exit(1)
  }
  build()
}
