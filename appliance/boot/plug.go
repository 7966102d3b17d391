package boot

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sealbay/appliance/internal/uevent"
)

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

// follow plugs what the kernel announces, until it fails. Announcements that
// were lost are made good by looking through all devices again.
func (p *plugger) follow(events *uevent.Socket) {
	err := events.Receive(context.Background(), func(e uevent.Event) {
		p.touch()
		switch e.Action {
		case "add":
			p.plug(e.Modalias)
		case uevent.Lost:
			p.coldplug("/sys/devices")
		}
	})
	p.warn(fmt.Errorf("%w: drivers of devices plugged in from now on are not loaded", err))
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
