/**
 * `dfs devices` and `dfs logout`: which machines open the account without its password, and taking that
 * back from one of them or from this one.
 */
import Table from 'cli-table3'
import type { Argv, CommandModule } from 'yargs'
import { openClient, type Client } from '../../mount/client/open.ts'
import { eraseProfile, readProfile, type Profile } from '../../mount/client/profile.ts'
import type { ListDevicesResponse } from '../../schema/generated/metadata.ts'
import { methods } from '../../schema/methods.ts'
import { DfsError } from '../../schema/wire/status.ts'
import { commandLog, defaultProfile, forceOption, jsonOption, profileOption } from './options.ts'

interface ProfileArguments {
  profile: string | undefined
}

const listDevices: CommandModule<object, ProfileArguments & { json: boolean }> = {
  command: ['list', '$0'],
  describe: 'List the devices of the account',
  builder: (parser) => parser.options({ ...profileOption, ...jsonOption }),
  handler: async ({ profile: dir, json }) => {
    await withSession(dir, async (client, { device: own }) => {
      const answer = await client.session.read(methods.listDevices, {})
      console.log(json ? asJson(answer, own) : asText(answer, own))
    })
  },
}

const revokeDevice: CommandModule<object, ProfileArguments & { id: number; force: boolean }> = {
  command: 'revoke <id>',
  describe: 'Take a device its access; its mounts stop working',
  builder: (parser) =>
    parser
      .positional('id', { type: 'number', demandOption: true, describe: 'Number in the list' })
      .options({ ...profileOption, ...forceOption })
      .example('$0 devices revoke 3', 'when the machine was lost'),
  handler: async ({ profile: dir, id, force }) => {
    if (!Number.isInteger(id) || id < 1) {
      throw new DfsError('invalidArgument', 'a device is a number; see dfs devices')
    }
    await withSession(dir, async (client, { device: own }) => {
      if (id === own) {
        throw new DfsError('invalidArgument', `device ${id} is this machine: use dfs logout`)
      }
      await client.session.read(methods.revokeDevice, { device: id, force })
    })
    console.error(`device ${id} is revoked`)
  },
}

export const devicesCommand: CommandModule = {
  command: 'devices',
  describe: 'List the devices of the account, or revoke one',
  builder: (parser: Argv) => parser.command(listDevices).command(revokeDevice),
  handler: () => undefined,
}

export const logoutCommand: CommandModule<object, ProfileArguments & { force: boolean }> = {
  command: 'logout',
  describe: 'Revoke this device and erase its profile',
  builder: (parser) => parser.options({ ...profileOption, ...forceOption }),
  handler: async ({ profile: dir, force }) => {
    try {
      await withSession(dir, (client, { device }) => revokeOwn(client, device, force))
    } catch (error) {
      // Revoked before, elsewhere: there is only the profile left to erase.
      if (!(error instanceof DfsError) || error.code !== 'loginRefused') throw error
    }
    await eraseProfile(dir ?? defaultProfile())
    console.error('logged out; the profile is erased')
  },
}

async function revokeOwn({ session }: Client, device: number, force: boolean): Promise<void> {
  const { devices } = await session.read(methods.listDevices, {})
  const others = (devices.find((known) => known.device === device)?.sessions ?? 1) - 1
  if (others > 0 && !force) {
    throw new DfsError(
      'notPermitted',
      `${others} more sessions use this profile, perhaps a mount: unmount first, or lose what it has not saved with --force`,
    )
  }
  await session.read(methods.revokeDevice, { device, force })
}

async function withSession(
  dir: string | undefined,
  body: (client: Client, profile: Profile) => Promise<void>,
): Promise<void> {
  const profile = await readProfile(dir ?? defaultProfile())
  const client = await openClient({ profile, log: commandLog() })
  try {
    await body(client, profile)
  } finally {
    await client.close()
  }
}

const isoTime = (ns: bigint): string => new Date(Number(ns / 1_000_000n)).toISOString()

function asJson({ devices, recovery }: ListDevicesResponse, own: number): string {
  const shown = devices.map((device) => ({
    ...device,
    created: isoTime(device.created),
    own: device.device === own,
  }))
  return JSON.stringify({ devices: shown, recovery }, null, 2)
}

function asText({ devices, recovery }: ListDevicesResponse, own: number): string {
  const table = new Table({
    head: ['device', 'name', 'since', 'sessions', ''],
    style: { head: [], border: [] },
  })
  for (const { device, name, created, sessions } of devices) {
    table.push([device, name, isoTime(created), sessions, device === own ? 'this one' : ''])
  }
  const code = recovery
    ? 'There is a recovery code.'
    : 'There is no recovery code: dfs recovery makes one.'
  return `${table.toString()}\n${code}`
}
