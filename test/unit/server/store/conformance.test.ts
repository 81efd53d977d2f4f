/**
 * The ordered store's contract, on the engine that serves and on the one that simulations use.
 */
import { openRocksStore } from '../../../../server/store/rocks-store.ts'
import { MemoryDisk } from '../../../support/memory-store.ts'
import { conforms } from '../../../support/ordered-store-conformance.ts'
import { damageRecords } from '../../../support/raw-store.ts'

conforms('RocksDB', (t) => {
  const directory = t.testdir()
  return {
    open: () => openRocksStore(directory),
    damage: (key) => damageRecords(directory, [key]),
  }
})

conforms('memory', () => {
  const disk = new MemoryDisk()
  return {
    open: async () => disk.open(),
    async damage(key) {
      disk.damage([key])
    },
  }
})
