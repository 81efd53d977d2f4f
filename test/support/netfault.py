#!/usr/bin/env python3
"""A faulty network between own network namespaces, in user space (Python stdlib, root).

This kernel has no netem; this does its work with TUN devices.  Nothing leaves the machine.

    netfault.py up NET [mtu=9000] a b c
                                    make namespaces NET-a NET-b NET-c (10.77.0.1, .2, .3, each
                                    with loopback) and run the switch between them in the
                                    foreground until killed; then the namespaces are removed
    netfault.py exec NET a CMD ...  run CMD in NET-a (same as ip netns exec NET-a CMD)
    netfault.py set NET RULE...     change the links while traffic flows; a rule is
                                    FROM>TO:key=value,...   or   FROM-TO:... (both ways), * is any
          delay=ms jitter=ms        one-way delay; jitter reorders packets
          loss=p dup=p              probabilities, 0..1
          corrupt=p                 flips a bit: the receiver's checksum drops it
          swap=p                    swaps two words of the payload: no IP checksum notices,
                                    only the program's own integrity check can
          rate=bytes/s              bandwidth
          down=1                    partition (packets vanish, no error comes back)
          mtu=bytes                 larger packets vanish, as on a hop whose errors are filtered
          shift=n                   a NAT: UDP from this end comes from ports higher by n; a new n
                                    is a rebinding, after which the old ports reach nobody
    netfault.py clear NET           back to a perfect network
    netfault.py stats NET           packets forwarded and dropped for each link
Example:  netfault.py set t 'a-b:delay=50,jitter=20,loss=0.02' 'c>*:down=1'
"""
import ctypes, fcntl, heapq, json, os, random, select, signal, socket, struct, subprocess, sys, time

libc = ctypes.CDLL(None, use_errno=True)
KEYS = ('delay', 'jitter', 'loss', 'dup', 'corrupt', 'swap', 'rate', 'down', 'mtu', 'shift')


def control(net):
    return '/tmp/netfault-%s.sock' % net


def run(*a, check=True):
    return subprocess.run(a, check=check, stdout=subprocess.DEVNULL, stderr=None if check else subprocess.DEVNULL)


def tun_in(ns, addr, mtu):
    """A TUN device inside namespace ns; its descriptor works from anywhere."""
    here = os.open('/proc/self/ns/net', os.O_RDONLY)
    there = os.open('/run/netns/' + ns, os.O_RDONLY)
    if libc.setns(there, 0x40000000):
        raise OSError(ctypes.get_errno(), 'setns')
    try:
        fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22s', b'nf0', 0x1001, b''))      # IFF_TUN | IFF_NO_PI
        for c in (['link', 'set', 'lo', 'up'], ['addr', 'add', addr + '/24', 'dev', 'nf0'],
                  ['link', 'set', 'nf0', 'mtu', mtu, 'txqueuelen', '2000', 'up']):
            run('ip', *c)
    finally:
        libc.setns(here, 0x40000000)
        os.close(here)
        os.close(there)
    return fd


class Switch:
    def __init__(self, net, hosts, mtu):
        self.net, self.hosts, self.mtu = net, hosts, mtu
        self.ports = {}                            # NAT: (host, shifted port) -> (port, shift)
        self.ip = {bytes([10, 77, 0, i + 1]): h for i, h in enumerate(hosts)}
        self.fd, self.rules, self.busy = {}, {}, {}
        self.count = {}
        self.queue, self.seq = [], 0
        self.rng = random.Random()

    def link(self, a, b):
        return self.rules.setdefault((a, b), dict.fromkeys(KEYS, 0.0))

    def command(self, text):
        for rule in text.split():
            if rule == 'clear':
                self.rules.clear()
                continue
            if rule == 'stats':
                return json.dumps({'%s>%s' % k: v for k, v in sorted(self.count.items())})
            ends, _, sets = rule.partition(':')
            both = '>' not in ends
            a, _, b = ends.partition('-' if both else '>')
            changes = {}
            for s in sets.split(','):
                k, _, v = s.partition('=')
                if k not in KEYS:
                    return 'unknown key ' + k
                changes[k] = float(v or 1)
            for x in self.hosts if a == '*' else [a]:
                for y in self.hosts if b == '*' else [b]:
                    if x not in self.hosts or y not in self.hosts:
                        return 'unknown host in ' + rule
                    if x != y:
                        self.link(x, y).update(changes)
                        if both:
                            self.link(y, x).update(changes)
        return 'ok'

    def packet(self, src, p, now):
        dst = self.ip.get(p[16:20]) if p[0] >> 4 == 4 else None
        if dst is None or dst == src:
            return
        c = self.count.setdefault((src, dst), {'sent': 0, 'dropped': 0, 'damaged': 0})
        c['sent'] += 1
        p = self.translate(src, dst, p)
        if p is None:
            c['dropped'] += 1
            return
        r = self.rules.get((src, dst))
        if not r:
            self.push(now, dst, p)
            return
        rnd = self.rng.random
        if r['down'] or (r['loss'] and rnd() < r['loss']) or (r['mtu'] and len(p) > r['mtu']):
            c['dropped'] += 1
            return
        if r['corrupt'] and rnd() < r['corrupt'] and len(p) > 40:
            p = bytearray(p)
            p[self.rng.randrange(40, len(p))] ^= 1 << self.rng.randrange(8)
            c['damaged'] += 1
        if r['swap'] and rnd() < r['swap'] and len(p) > 120:
            p = bytearray(p)
            head = (p[0] & 15) * 4
            body = head + (8 if p[9] == 17 else (p[head + 12] >> 4) * 4)
            n = (len(p) - body) // 2
            if n > 20:
                i, j = body + 2 * self.rng.randrange(n), body + 2 * self.rng.randrange(n)
                p[i:i + 2], p[j:j + 2] = p[j:j + 2], p[i:i + 2]
                c['damaged'] += 1
        at = now
        if r['rate']:
            at = max(now, self.busy.get((src, dst), 0)) + len(p) / r['rate']
            if at - now > .5:                      # queue full
                c['dropped'] += 1
                return
            self.busy[src, dst] = at
        at += (r['delay'] + (self.rng.uniform(-1, 1) * r['jitter'] if r['jitter'] else 0)) / 1000
        self.push(at, dst, p)
        if r['dup'] and rnd() < r['dup']:
            self.push(at + rnd() * .01, dst, p)

    def translate(self, src, dst, p):
        """Ports of UDP packets behind a NAT; None for a packet to a mapping that is gone."""
        if p[9] != 17:
            return p
        head = (p[0] & 15) * 4
        sport, dport = struct.unpack_from('!HH', p, head)
        shift = int(self.rules.get((src, dst), {}).get('shift', 0))
        back = int(self.rules.get((dst, src), {}).get('shift', 0))
        if shift:
            self.ports[src, sport + shift] = (sport, shift)
            sport += shift
        elif back:
            port, made = self.ports.get((dst, dport), (0, 0))
            if made != back:
                return None
            dport = port
        else:
            return p
        p = bytearray(p)
        struct.pack_into('!HH', p, head, sport, dport)
        struct.pack_into('!H', p, head + 6, 0)     # no UDP checksum
        return p

    def push(self, at, dst, p):
        if at <= time.monotonic() and not self.queue:
            self.out(dst, p)
        else:
            self.seq += 1
            heapq.heappush(self.queue, (at, self.seq, dst, bytes(p)))

    def out(self, dst, p):
        try:
            os.write(self.fd[dst], p)
        except OSError:
            pass

    def up(self):
        names = ['%s-%s' % (self.net, h) for h in self.hosts]
        if os.path.exists(control(self.net)):
            os.unlink(control(self.net))
        made = []
        ctl = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            for i, (h, ns) in enumerate(zip(self.hosts, names)):
                run('ip', 'netns', 'add', ns)
                made.append(ns)
                self.fd[h] = tun_in(ns, '10.77.0.%d' % (i + 1), self.mtu)
            ctl.bind(control(self.net))
            os.chmod(control(self.net), 0o600)
            by = {fd: h for h, fd in self.fd.items()}
            poll = select.epoll()
            for fd in list(by) + [ctl.fileno()]:
                poll.register(fd, select.EPOLLIN)
            print('up: ' + ' '.join('%s=10.77.0.%d' % (ns, i + 1) for i, ns in enumerate(names)))
            sys.stdout.flush()
            while True:
                now = time.monotonic()
                while self.queue and self.queue[0][0] <= now:
                    _, _, dst, p = heapq.heappop(self.queue)
                    self.out(dst, p)
                wait = max(0, self.queue[0][0] - time.monotonic()) if self.queue else 5
                for fd, _ in poll.poll(wait):
                    if fd == ctl.fileno():
                        msg, who = ctl.recvfrom(65536)
                        try:
                            ans = self.command(msg.decode())
                        except (ValueError, KeyError) as e:
                            ans = 'bad rule: %s' % e
                        if who:
                            ctl.sendto(ans.encode(), who)
                        continue
                    now = time.monotonic()
                    for _ in range(64):
                        try:
                            p = os.read(fd, 65536)
                        except BlockingIOError:
                            break
                        self.packet(by[fd], p, now)
        finally:
            ctl.close()
            if os.path.exists(control(self.net)):
                os.unlink(control(self.net))
            for ns in made:
                run('ip', 'netns', 'del', ns, check=False)


def ask(net, text):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    me = '/tmp/netfault-client-%d.sock' % os.getpid()
    s.bind(me)
    try:
        s.settimeout(5)
        s.sendto(text.encode(), control(net))
        return s.recv(65536).decode()
    finally:
        os.unlink(me)


def main():
    a = sys.argv[1:]
    if len(a) < 2 or a[0] not in ('up', 'exec', 'set', 'clear', 'stats'):
        print(__doc__)
        return 2
    if a[0] == 'up':
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        libc.prctl(1, signal.SIGTERM)              # PR_SET_PDEATHSIG: a killed test leaves no switch
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
        mtu = a.pop(2)[4:] if a[2:] and a[2].startswith('mtu=') else '1500'
        Switch(a[1], a[2:] or ['a', 'b'], mtu).up()
        return 0
    if a[0] == 'exec':
        os.execvp('ip', ['ip', 'netns', 'exec', '%s-%s' % (a[1], a[2])] + a[3:])
    ans = ask(a[1], ' '.join(a[2:]) if a[0] == 'set' else a[0])
    print(ans)
    return 0 if ans == 'ok' or a[0] != 'set' else 1


if __name__ == '__main__':
    sys.exit(main())
