package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// meter reads what the processes of an operator cost: those named in demo.json and all
// that descend from them.
type meter struct{ pids, dirs []string }

// tree gives the process ids.
func (m *meter) tree() []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		if pid, ppid, _ := stat(f); pid > 0 {
			children[ppid] = append(children[ppid], pid)
		}
	}
	var out []int
	var walk func(int)
	walk = func(pid int) {
		out = append(out, pid)
		for _, c := range children[pid] {
			walk(c)
		}
	}
	for _, file := range paths(m.pids) {
		if b, err := os.ReadFile(file); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				walk(pid)
			}
		}
	}
	return out
}

// stat reads a process id, its parent's, and the CPU ticks it and its dead children
// used.
func stat(file string) (pid, ppid int, ticks int64) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, 0
	}
	s := string(b)
	pid, _ = strconv.Atoi(s[:strings.IndexByte(s, ' ')])
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 15 {
		return pid, 0, 0
	}
	ppid, _ = strconv.Atoi(f[1])
	for _, i := range []int{11, 12, 13, 14} { // utime stime cutime cstime
		n, _ := strconv.ParseInt(f[i], 10, 64)
		ticks += n
	}
	return pid, ppid, ticks
}

// cpu is the seconds used so far.
func (m *meter) cpu() float64 {
	var sum int64
	for _, pid := range m.tree() {
		_, _, t := stat(fmt.Sprintf("/proc/%d/stat", pid))
		sum += t
	}
	return float64(sum) / 100 // USER_HZ, 100 on Linux
}

// memory says the proportional set size, shared pages counted once.
func (m *meter) memory() string {
	var kb int64
	pids := m.tree()
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				kb += n
			}
		}
	}
	return fmt.Sprintf("%.0f MB of memory (%d processes)", float64(kb)/1024, len(pids))
}

// disk is the octets allocated under the data folders.
func (m *meter) disk() int64 {
	var sum int64
	for _, dir := range paths(m.dirs) {
		_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil // gone meanwhile
			}
			if st, err := e.Info(); err == nil {
				if sys, ok := st.Sys().(*syscall.Stat_t); ok {
					sum += sys.Blocks * 512
				}
			}
			return nil
		})
	}
	return sum
}
