/** The type bits of st_mode, as the commands need them. */
import { constants } from 'node:fs'
import type { Stat } from '../../mount/vfs/api.ts'

const kind = (stat: Stat): number => stat.mode & constants.S_IFMT

export const isDirectory = (stat: Stat): boolean => kind(stat) === constants.S_IFDIR
export const isFile = (stat: Stat): boolean => kind(stat) === constants.S_IFREG
export const isSymlink = (stat: Stat): boolean => kind(stat) === constants.S_IFLNK

const LETTERS = new Map([
  [constants.S_IFDIR, 'd'],
  [constants.S_IFLNK, 'l'],
  [constants.S_IFIFO, 'p'],
  [constants.S_IFSOCK, 's'],
  [constants.S_IFCHR, 'c'],
  [constants.S_IFBLK, 'b'],
])

/** The letter that `ls -l` shows for it. */
export const kindLetter = (stat: Stat): string => LETTERS.get(kind(stat)) ?? '-'
