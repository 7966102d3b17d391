package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// openUevents listens to the kernel's announcements of devices, netlink(7)
// family NETLINK_KOBJECT_UEVENT, multicast group 1.
func openUevents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("uevent socket: %w", err)
	}
	// The burst of a box with many drives must not overflow; root may exceed the limit.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1})
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("uevent socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "uevents"), nil
}

// parseUevent returns the modalias of a device that was added, or "". The
// message is "ACTION@DEVPATH", then "KEY=VALUE" strings, each ended by NUL.
func parseUevent(message string) string {
	added, alias := false, ""
	for field := range strings.SplitSeq(message, "\x00") {
		added = added || field == "ACTION=add"
		if value, ok := strings.CutPrefix(field, "MODALIAS="); ok {
			alias = value
		}
	}
	if !added {
		return ""
	}
	return alias
}

// plugger loads the drivers of devices by their modalias.
type plugger struct {
	modules *Modules
	warn    func(error)
	last    atomic.Int64 // nanoseconds of uptime at the last sign of life

	mu   sync.Mutex // guards seen
	seen map[string]bool
}

func newPlugger(m *Modules, warn func(error)) *plugger {
	p := &plugger{modules: m, warn: warn, seen: map[string]bool{}}
	p.touch()
	return p
}

func (p *plugger) touch() { p.last.Store(int64(uptime())) }

// plug loads the driver for one device, once per kind.
func (p *plugger) plug(modalias string) {
	p.mu.Lock()
	again := p.seen[modalias]
	p.seen[modalias] = true
	p.mu.Unlock()
	if again || modalias == "" {
		return
	}
	if err := p.modules.Load(modalias); err != nil {
		p.warn(err)
	}
	p.touch()
}

// follow plugs what the kernel announces. A lost announcement (ENOBUFS) is
// made good by looking through all devices again.
func (p *plugger) follow(events *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := events.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			p.coldplug("/sys/devices")
		case err != nil:
			p.warn(fmt.Errorf("uevents: %w: devices plugged in from now on are not seen", err))
			return
		default:
			p.touch()
			p.plug(parseUevent(string(buf[:n])))
		}
	}
}

// coldplug plugs every device that was there before we listened.
func (p *plugger) coldplug(root string) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "modalias" {
			return nil // a device may vanish while we walk
		}
		if text, err := os.ReadFile(path); err == nil {
			p.plug(strings.TrimSpace(string(text)))
		}
		return nil
	})
	if err != nil {
		p.warn(err)
	}
}

// settle waits until no device appeared for quiet, at most for limit.
func (p *plugger) settle(quiet, limit time.Duration) {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		idle := uptime() - time.Duration(p.last.Load())
		if idle >= quiet {
			return
		}
		time.Sleep(quiet - idle)
	}
}
