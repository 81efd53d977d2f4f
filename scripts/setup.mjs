#!/usr/bin/env node
/**
 * Brings a fresh clone to the point where everything runs: checks Node, installs the packages of
 * package-lock.json, the Debian package fuse3 (as root; else says what to install), and builds.
 * Does nothing that is done already. Uses nothing but Node itself.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from './build.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const UNAVAILABLE = 69

export function setup() {
  checkNode()
  installPackages()
  installFuse()
  build()
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) {
    stop(`dfs needs Node 20.19 or later; this is ${process.version}`)
  }
}

function installPackages() {
  const stamp = join(root, 'node_modules/.dfs-lock')
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .update(process.versions.modules)
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  say('installing packages (npm ci)')
  // JOBS is node-gyp's: a package that must be compiled takes all cores, unless told otherwise.
  const env = { JOBS: 'max', ...process.env, DFS_NO_BUILD: '1' }
  run('npm', ['ci', '--no-fund', '--no-audit', '--loglevel=error'], 'npm ci failed', env)
  writeFileSync(stamp, lock)
}

function installFuse() {
  if (!existsSync('/dev/fuse')) {
    stop(
      'there is no /dev/fuse here: load the kernel module fuse, or give the container the device',
    )
  }
  if (inPath('fusermount3') || inPath('fusermount')) return
  if (process.getuid() !== 0 || !inPath('apt-get')) {
    stop('fusermount3 is missing. Install it, on Debian: sudo apt-get install fuse3')
  }
  say('installing the Debian package fuse3')
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  run('apt-get', ['update', '-qq'], 'apt-get update failed', env)
  const install = ['install', '-y', '-qq', '--no-install-recommends', 'fuse3']
  run('apt-get', install, 'could not install fuse3', env)
}

function inPath(name) {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/bin'].some((dir) => {
    try {
      accessSync(join(dir, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function run(command, args, failure, env) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) stop(`${failure}${error ? `: ${error.message}` : ` (exit ${status})`}`)
}

const say = (text) => console.error(`dfs: ${text}`)

function stop(text) {
  say(text)
  process.exit(UNAVAILABLE)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) setup()
