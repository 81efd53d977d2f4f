/** How a path's datagram size is found: times and answers in, questions out. */
import t from 'tap'
import { PathProbe } from '../../../../schema/quic/path-probe.ts'

/** A probe on a path that carries `pathBytes`, and a clock. */
class Path {
  nowMs = 0
  questions = 0
  pathBytes: number
  readonly probe: PathProbe

  constructor(max: number, pathBytes: number) {
    this.pathBytes = pathBytes
    let nonce = 0
    this.probe = new PathProbe({ max, nowMs: 0, nonce: () => nonce++ })
  }

  run(ms: number, busy = true): number {
    const end = this.nowMs + ms
    while (this.nowMs < end) {
      this.nowMs += 10
      if (busy) this.probe.used(this.nowMs)
      for (const question of this.probe.expire(this.nowMs, 20)) {
        this.questions++
        if (question.size <= this.pathBytes) this.probe.seen(question, this.nowMs + 5)
      }
    }
    return this.probe.size
  }
}

t.test('starts at what every path carries', async (t) => {
  t.equal(new Path(9_000, 9_000).probe.size, 1_200)
})

t.test('finds the largest that both interfaces and the path carry', async (t) => {
  t.equal(new Path(8_972, 10_000).run(1_000), 8_972)
  t.equal(new Path(8_972, 1_472).run(1_000), 1_472)
  t.equal(new Path(8_972, 1_452).run(1_000), 1_452)
  t.equal(new Path(1_472, 1_300).run(1_000), 1_200)
  t.equal(new Path(1_200, 9_000).run(1_000), 1_200)
})

t.test('falls back when the path shrinks, and finds the new size', async (t) => {
  const path = new Path(8_972, 9_000)
  path.run(1_000)
  path.pathBytes = 1_472
  t.equal(path.run(2_500), 1_472)
})

t.test('looks at once when the connection hears nothing', async (t) => {
  const path = new Path(8_972, 9_000)
  path.run(1_000)
  path.pathBytes = 1_472
  path.probe.suspect(path.nowMs)
  t.equal(path.run(900), 1_472)
})

t.test('tries larger sizes again after a minute', async (t) => {
  const path = new Path(8_972, 1_472)
  path.run(2_000)
  path.pathBytes = 9_000
  t.equal(path.run(50_000), 1_472)
  t.equal(path.run(20_000), 8_972)
})

t.test('asks nothing while the connection is idle', async (t) => {
  const path = new Path(8_972, 1_472)
  path.run(2_000)
  const { questions } = path
  path.run(3_600_000, false)
  t.ok(path.questions - questions <= 2, `${path.questions - questions} questions in an hour`)
})

t.test('believes only answers to its own questions', async (t) => {
  const path = new Path(8_972, 1_200)
  path.run(50)
  t.equal(path.probe.seen({ nonce: 12_345, size: 8_972 }, path.nowMs), false)
  t.equal(path.probe.seen({ nonce: 0, size: 8_972 }, path.nowMs), false, 'nor with another size')
  t.equal(path.probe.size, 1_200)
})
