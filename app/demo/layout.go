package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"pli/internal/child"
)

// layout says where everything of one demo is.
type layout struct {
	dir     string // absolute: .demo
	cwd     string // what paths in demo.json start from
	sockets string // short, for Unix sockets
	apart   string // for data that the database's user could not reach under dir
	port    int
}

const portsPerOperator = 20

func newLayout(o Options) (layout, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return layout{}, err
	}
	cwd, err := os.Getwd()
	if err != nil {
		return layout{}, err
	}
	sum := sha256.Sum256([]byte(dir))
	tag := hex.EncodeToString(sum[:4])
	l := layout{dir: dir, cwd: cwd, port: o.Port}
	l.sockets = filepath.Join("/tmp", fmt.Sprintf("pli-%d-%s", os.Getuid(), tag))
	l.apart = filepath.Join("/var/lib/pli-demo", tag)
	return l, nil
}

func (l layout) at(parts ...string) string {
	return filepath.Join(append([]string{l.dir}, parts...)...)
}

// shown is a path as demo.json gives it: from the checkout where it is in there.
func (l layout) shown(path string) string {
	if rel, err := filepath.Rel(l.cwd, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// make creates the folders. Those above the services' own must let their users pass.
func (l layout) make() error {
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{{l.dir, 0o755}, {l.at("log"), 0o700}} {
		if err := os.MkdirAll(d.path, d.mode); err != nil {
			return err
		}
	}
	return l.makeSockets()
}

// makeSockets makes the folder of sockets in the system's temporary one, and refuses
// one that somebody else made.
func (l layout) makeSockets() error {
	if err := os.Mkdir(l.sockets, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	st, err := os.Lstat(l.sockets)
	if err != nil {
		return err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); !ok || !st.IsDir() || int(sys.Uid) != os.Getuid() {
		return fmt.Errorf("%s belongs to somebody else: remove it", l.sockets)
	}
	return os.Chmod(l.sockets, 0o711)
}

// data is a folder that the system user of a service keeps its data in: under the
// demo's, or apart where a folder above (/root, say) would not let that user pass.
func (l layout) data(serviceUser string, parts ...string) (string, error) {
	path := l.at(parts...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	if child.MayEnter(path, serviceUser) {
		return path, nil
	}
	path = filepath.Join(append([]string{l.apart}, parts...)...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, nil
}

// systemUser is the first of the names that is a user of this system, empty when we
// are not root: everything then runs as ourselves.
func systemUser(names ...string) (string, error) {
	if os.Getuid() != 0 {
		return "", nil
	}
	for _, n := range names {
		if _, err := user.Lookup(n); err == nil {
			return n, nil
		}
	}
	return "", fmt.Errorf("started as root, and there is no system user %s to run a service under", names[0])
}

// lock makes this the demo's only supervisor. It ends with the process, however that
// ends.
func (l layout) lock() (*os.File, error) {
	f, err := os.OpenFile(l.at("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("a demo runs already in %s: stop it with Ctrl-C, or set PLI_DEMO_DIR and PLI_DEMO_PORT for another", l.dir)
	}
	return f, nil
}

// ports are those of one operator, in the order of the first letter's journey.
// Metrics takes one port per role when an operator runs in several processes.
type ports struct{ mx, submission, submissions, imap, imaps, web, metrics, ldap, ldaps, fhir, dav int }

func (l layout) ports(n int) ports {
	p := l.port + n*portsPerOperator
	return ports{mx: p, submission: p + 1, submissions: p + 2, imap: p + 3, imaps: p + 4, web: p + 5, metrics: p + 6,
		ldap: p + 16, ldaps: p + 17, fhir: p + 18, dav: p + 19}
}

// redisPort is for the built-in stand-in.
func (l layout) redisPort(operators int) int { return l.port + operators*portsPerOperator }

func addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// checkPorts tells about a taken port before anything starts.
func (l layout) checkPorts(operators int) error {
	for p := l.port; p <= l.redisPort(operators); p++ {
		ln, err := net.Listen("tcp", addr(p))
		if err != nil {
			return fmt.Errorf("port %d is taken: set PLI_DEMO_PORT to the first of %d free ports", p, operators*portsPerOperator+1)
		}
		ln.Close()
	}
	return nil
}
