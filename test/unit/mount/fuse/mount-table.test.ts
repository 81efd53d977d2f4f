/**
 * The kernel's mount table, as text and as it is on this machine.
 */
import t from 'tap'
import { parseMountTable, readMountTable } from '../../../../mount/fuse/mount-table.ts'

t.test('lines with and without optional fields are read', async (t) => {
  const text = [
    '22 27 0:20 / /sys rw,nosuid shared:7 master:1 - sysfs sysfs rw',
    '95 27 0:51 / /mnt/dfs rw,relatime - fuse.dfs dfs rw,user_id=0',
    '',
  ].join('\n')
  t.same(parseMountTable(text), [
    { directory: '/sys', type: 'sysfs' },
    { directory: '/mnt/dfs', type: 'fuse.dfs' },
  ])
})

t.test('escaped names come back, UTF-8 included', async (t) => {
  const text = '1 2 0:1 / /a\\040b\\011c\\134d\\012e\\303\\244ö rw - tmpfs x rw'
  t.same(parseMountTable(text), [{ directory: '/a b\tc\\d\neäö', type: 'tmpfs' }])
})

t.test('lines that are none are left out', async (t) => {
  t.same(parseMountTable('nonsense\n1 2 0:1 / /cut rw'), [])
})

t.test('this machine has /proc', async (t) => {
  t.ok(
    (await readMountTable()).some(
      ({ directory, type }) => directory === '/proc' && type === 'proc',
    ),
  )
})
