/**
 * A directory that is moved back and forth while programs work in it, which they do not notice: on a mount
 * of a real cluster as on a local disk. And what is told of the directories that it leaves and enters is
 * true at every moment, however many moves the server has not heard of yet.
 */
import t from 'tap'
import { noMounts, startCluster } from '../support/cluster.ts'
import { foldersOf, noPython, sameOnBoth } from '../support/lockstep.ts'

t.setTimeout(240_000)

const MOVED = `
os.makedirs('from/moved/inner'); os.mkdir('to')

def work(name):
    failed = {}
    for n in range(40):
        text = name + str(n) * 500
        def say(what, call):
            try:
                if call() is False: failed[what] = 'wrong'
            except OSError as e: failed[what] = errno.errorcode[e.errno]
        say('write', lambda: write(name, text))
        say('read', lambda: read(name) == text.encode())
        say('rename', lambda: os.rename(name, name + '-2'))
        say('stat', lambda: os.stat(name + '-2').st_size == len(text))
        say('list', lambda: name + '-2' in os.listdir('.'))
        say('mkdir', lambda: os.mkdir(name + '-d'))
        say('into it', lambda: os.rename(name + '-2', name + '-d/file'))
        say('not empty', lambda: os.listdir(name + '-d') == ['file'])
        say('unlink', lambda: os.unlink(name + '-d/file'))
        say('rmdir', lambda: os.rmdir(name + '-d'))
    return failed

workers = {}
os.chdir('from/moved/inner')
for name in 'first', 'second':
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            failed = work(name)
            if failed: tell(name, lambda: failed)
        except Exception as e: print(name, repr(e))
        finally: sys.stdout.flush(); os._exit(0)
    workers[name] = child
os.chdir('../../..')

ends = ('from/moved', 'to/moved'), ('to/moved', 'from/moved')
wrong, moves, left = 0, 0, dict(workers)
while left or moves % 2 or moves < 2000:
    here, there = ends[moves % 2]
    os.rename(here, there)
    moves += 1
    links = [os.stat(os.path.dirname(end)).st_nlink for end in (here, there)]
    if links != [2, 3]: wrong += 1
    if moves % 100 == 0:
        for name, child in list(left.items()):
            if os.waitpid(child, os.WNOHANG)[0]: del left[name]
tell('enough moves', lambda: moves >= 2000)
tell('wrong links', lambda: wrong)
for place in '.', 'from', 'to', 'from/moved', 'from/moved/inner':
    tell('left in ' + place, lambda: os.listdir(place))
    tell('links', lambda: os.stat(place).st_nlink)
`

/** Of a server that hears nothing for a while, and then of many moves while more are made. */
const LATE = `
os.makedirs('late/moved'); os.mkdir('back')
ends = ('late/moved', 'back/moved'), ('back/moved', 'late/moved')
moves, wrong = 0, 0
def move(times):
    global moves, wrong
    for _ in range(times):
        here, there = ends[moves % 2]
        os.rename(here, there)
        moves += 1
        links = [os.stat(os.path.dirname(end)).st_nlink for end in (here, there)]
        if links != [2, 3]: wrong += 1
for _ in range(4):
    os.kill(SERVER, signal.SIGSTOP)
    try: move(401)
    finally: os.kill(SERVER, signal.SIGCONT)
    # Answers come between these.
    for _ in range(50):
        time.sleep(0.002)
        move(1)
tell('moves', lambda: moves)
tell('wrong links', lambda: wrong)
for place in 'late', 'back': tell('left in ' + place, lambda: os.listdir(place))
`

const skip = noMounts() ?? noPython() ?? false
t.test('a directory that is moved', { skip }, async (t) => {
  const cluster = startCluster(t, '--chunkservers', '1', '--racks', '1', '--replicas', '1')
  const at = foldersOf(t, cluster)

  await t.test('while programs work in it', async (t) => {
    sameOnBoth(t, at('worked-in'), MOVED, 12)
  })

  await t.test('more often than the server can hear of it', async (t) => {
    sameOnBoth(t, at('late'), `SERVER = ${cluster.pid('metadata')}\n${LATE}`, 4)
  })
})
