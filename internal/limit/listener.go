package limit

import (
	"net"
	"sync"
)

// Listener closes at once the connections that are too many: beyond most in all, or
// beyond perHost from one network address, so that nobody keeps the others out. refused
// is told of each.
func Listener(ln net.Listener, most, perHost int, refused func()) net.Listener {
	return &listener{Listener: ln, most: most, perHost: perHost, refused: refused, hosts: map[string]int{}}
}

type listener struct {
	net.Listener
	most, perHost int
	refused       func()

	mu    sync.Mutex
	total int
	hosts map[string]int
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := hostOf(c)
		if l.admit(host) {
			return &admitted{Conn: c, leave: sync.OnceFunc(func() { l.leave(host) })}, nil
		}
		l.refused()
		_ = c.Close()
	}
}

func (l *listener) admit(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.most || l.hosts[host] >= l.perHost {
		return false
	}
	l.total++
	l.hosts[host]++
	return true
}

func (l *listener) leave(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.hosts[host]--; l.hosts[host] == 0 {
		delete(l.hosts, host)
	}
}

func hostOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}

type admitted struct {
	net.Conn
	leave func()
}

func (c *admitted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
