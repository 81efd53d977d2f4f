/** `dfs reveal`: the records that the servers hold for a path, byte by byte as they hold them. */
import type { CommandModule } from 'yargs'
import { openClient } from '../../mount/client/open.ts'
import { readProfile } from '../../mount/client/profile.ts'
import { revealPath, type Revealed } from '../../mount/vfs/reveal.ts'
import * as codecs from '../../schema/generated/records.ts'
import type { StoredRecord } from '../../schema/generated/metadata.ts'
import { commandLog, defaultProfile, jsonOption, profileOption, storePath } from './options.ts'

interface RevealArguments {
  profile: string | undefined
  path: string
  json: boolean
}

export const revealCommand: CommandModule<object, RevealArguments> = {
  command: 'reveal <path>',
  describe: 'Show what the servers hold for a path, exactly as they hold it',
  builder: (parser) =>
    parser
      .positional('path', { type: 'string', demandOption: true, describe: 'Path in the store' })
      .options({ ...profileOption, ...jsonOption })
      .example('$0 reveal /letters/to-ann.txt', 'no name and no word of it is to be seen'),
  handler: async ({ profile: dir, path: given, json }) => {
    const path = storePath(given)
    const profile = await readProfile(dir ?? defaultProfile())
    const log = commandLog()
    const client = await openClient({ profile, log })
    try {
      const revealed = await revealPath(client.session, path, log)
      console.log(json ? asJson(revealed) : asText(revealed))
    } finally {
      await client.close()
    }
  },
}

/** A record's fields by name; none of a record that only a newer program can read. */
function fieldsOf({ table, value }: StoredRecord): object {
  switch (table) {
    case 'DentryRecord':
      return codecs.DentryRecord.decode(value)
    case 'InodeRecord':
      return codecs.InodeRecord.decode(value)
    case 'XattrRecord':
      return codecs.XattrRecord.decode(value)
    case 'WindowRecord':
      return codecs.WindowRecord.decode(value)
    case 'PlacedChunkRecord':
      return codecs.PlacedChunkRecord.decode(value)
    default:
      return {}
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function asJson({ records, servers }: Revealed): string {
  const shown = records.map((record) => ({
    table: record.table,
    key: hex(record.key),
    value: hex(record.value),
    fields: printable(fieldsOf(record)),
  }))
  return JSON.stringify({ records: shown, servers }, undefined, 2)
}

/** For JSON: bytes as hex, large numbers as text. */
function printable(value: unknown): unknown {
  if (value instanceof Uint8Array) return hex(value)
  if (typeof value === 'bigint') return value.toString()
  if (Array.isArray(value)) return value.map(printable)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, printable(of)]))
}

function asText({ records, servers }: Revealed): string {
  const lines = [`the metadata server holds ${records.length} records:`]
  for (const record of records) {
    lines.push(
      '',
      `${record.table}, ${record.value.length} bytes`,
      `  key    ${hex(record.key)}`,
      `  value  ${hex(record.value)}`,
      ...JSON.stringify(printable(fieldsOf(record)), undefined, 2)
        .split('\n')
        .slice(1, -1)
        .map((line) => `  ${line}`),
    )
  }
  lines.push('')
  if (servers.length === 0) lines.push('no chunkserver holds anything of it')
  else
    lines.push('each chunk, as salt and sealed blocks under its number, is on the servers named:')
  for (const { id, rack, addresses } of servers) {
    lines.push(`  chunkserver-${id} (${rack}) ${addresses.join(' ')}`)
  }
  return lines.join('\n')
}
