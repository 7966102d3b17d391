package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sealbay/appliance/rest"
)

const (
	// maxProbes bounds the memory: a probe is a process of some 20 MiB.
	maxProbes = 4
	// probeStart is how long a probe may take until it counts: the kernel
	// checks its programs, which takes a fraction of a second.
	probeStart = 15 * time.Second
	// probeProgram counts; it is the bench's, so that this daemon links no BPF.
	probeProgram = "sealbench"
)

// probes are the block devices that are watched, each by a process of its own.
type probes struct {
	log *slog.Logger

	mu       sync.Mutex
	byDevice map[uint64]*probe // by device number, those included that ended by themselves
	closed   bool
}

func newProbes(log *slog.Logger) *probes {
	return &probes{log: log, byDevice: map[uint64]*probe{}}
}

// StartProbe answers probe_start.
func (n *Node) StartProbe(ctx context.Context, sel rest.ProbeSelect) (rest.Probe, error) {
	return n.probes.start(ctx, sel.Device)
}

// Probes answers probe_status.
func (n *Node) Probes() rest.ProbeList { return n.probes.list() }

// StopProbe answers probe_stop.
func (n *Node) StopProbe(_ context.Context, sel rest.ProbeSelect) (rest.ProbeList, error) {
	if sel.Device == "" {
		return n.probes.stop(n.probes.take(nil), "no probe is running")
	}
	path, number, err := blockDevice(sel.Device)
	if err != nil {
		// It may have been pulled: then its path is all there is to go by.
		path = filepath.Clean(sel.Device)
	}
	mine := func(key uint64, p *probe) bool { return p.device == path || err == nil && key == number }
	return n.probes.stop(n.probes.take(mine), fmt.Sprintf("no probe is running on %q", path))
}

// start has a device watched and returns once it is.
func (ps *probes) start(ctx context.Context, device string) (rest.Probe, error) {
	path, number, err := blockDevice(device)
	if err != nil {
		return rest.Probe{}, err
	}
	program, err := findProbe()
	if err != nil {
		return rest.Probe{}, err
	}
	p, err := ps.add(path, number, program)
	if err != nil {
		return rest.Probe{}, err
	}
	if err := p.begun(ctx); err != nil {
		p.stop()
		ps.remove(number, p)
		return rest.Probe{}, err
	}
	return p.row(), nil
}

// add starts a process, unless there is one for this device.
func (ps *probes) add(path string, number uint64, program string) (*probe, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed {
		return nil, rest.Errorf(503, "the daemon is going down")
	}
	if p := ps.byDevice[number]; p != nil && p.alive() {
		return nil, rest.Errorf(409, "a probe is already running on %s; probe_status shows it, probe_stop ends it", p.device)
	}
	alive := 0
	for _, p := range ps.byDevice {
		if p.alive() {
			alive++
		}
	}
	if alive >= maxProbes {
		return nil, rest.Errorf(409, "%d probes are running, which is the most at a time; end one with probe_stop", alive)
	}
	p := startProbe(path, program, ps.log)
	ps.byDevice[number] = p
	return p, nil
}

func (ps *probes) remove(number uint64, p *probe) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.byDevice[number] == p {
		delete(ps.byDevice, number)
	}
}

// take strikes the probes off the table that are chosen; nil chooses all.
func (ps *probes) take(chosen func(uint64, *probe) bool) (taken []*probe) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for number, p := range ps.byDevice {
		if chosen == nil || chosen(number, p) {
			taken = append(taken, p)
			delete(ps.byDevice, number)
		}
	}
	return taken
}

// stop ends those probes and returns what they counted; none is an error.
func (ps *probes) stop(taken []*probe, none string) (rest.ProbeList, error) {
	if len(taken) == 0 {
		return rest.ProbeList{}, rest.Errorf(404, "%s", none)
	}
	for _, p := range taken {
		p.cancel() // all at once
	}
	for _, p := range taken {
		p.stop()
	}
	return rows(taken), nil
}

func (ps *probes) list() rest.ProbeList {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var counting []*probe
	for _, p := range ps.byDevice {
		if p.counts() {
			counting = append(counting, p)
		}
	}
	return rows(counting)
}

func rows(ps []*probe) rest.ProbeList {
	l := rest.ProbeList{Probes: []rest.Probe{}}
	for _, p := range ps {
		l.Probes = append(l.Probes, p.row())
	}
	slices.SortFunc(l.Probes, func(a, b rest.Probe) int { return strings.Compare(a.Device, b.Device) })
	return l
}

// close ends every probe and lets none start any more.
func (ps *probes) close() {
	ps.mu.Lock()
	ps.closed = true
	ps.mu.Unlock()
	for _, p := range ps.take(nil) {
		p.stop()
	}
}

// blockDevice finds the block device that a user named: its path without
// symbolic links, and its number.
func blockDevice(named string) (path string, number uint64, err error) {
	if named == "" {
		return "", 0, rest.Errorf(400, "device: name a block device, such as /dev/sda")
	}
	if !strings.HasPrefix(filepath.Clean(named), "/dev/") {
		return "", 0, rest.Errorf(400, "device %q: must be a path below /dev, such as /dev/sda", named)
	}
	path, err = filepath.EvalSymlinks(named)
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, rest.Errorf(404, "device %q: there is no such device", named)
	}
	if err != nil {
		return "", 0, rest.Errorf(400, "device %q: %v", named, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", 0, rest.Errorf(404, "device %q: %v", named, err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Mode&syscall.S_IFMT != syscall.S_IFBLK || !strings.HasPrefix(path, "/dev/") {
		return "", 0, rest.Errorf(400, "device %q: not a block device", named)
	}
	return path, st.Rdev, nil
}

// findProbe finds the program beside this one, else on the PATH.
func findProbe() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", probeProgram, err)
	}
	beside := filepath.Join(filepath.Dir(self), probeProgram)
	if path, err := exec.LookPath(beside); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(probeProgram)
	if err != nil {
		return "", rest.Errorf(503, "%s is missing, which does the counting: install it as %s or on the daemon's PATH", probeProgram, beside)
	}
	return path, nil
}
