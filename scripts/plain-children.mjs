/**
 * Loaded into each test file: what it starts runs as users start it. The test runner would have every process
 * of ours report to it, which made each one's start cost twice the CPU.
 */
import processOnSpawn from 'process-on-spawn'

processOnSpawn.removeAllListeners()
const options = process.env.NODE_OPTIONS?.replace(/"?--import=[^"\s]*@tapjs[^"\s]*"?/g, '').trim()
if (options) process.env.NODE_OPTIONS = options
else delete process.env.NODE_OPTIONS
