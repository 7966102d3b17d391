// Package engine opens a device with the I/O engine of a given name: the one
// way in for programs that let their users choose.
package engine

import (
	"fmt"
	"log/slog"
	"strings"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
	"sealbay/blockcrypt/blockdev/uring"
)

// Auto is io_uring where this process can have it, else direct, with one line
// in the log that says why.
const Auto = "auto"

// Options shapes Open.
type Options struct {
	// ReadOnly opens for reading only, without exclusion.
	ReadOnly bool
	// Log takes the line that says why Auto did not get the fastest engine;
	// nil is slog.Default.
	Log *slog.Logger
}

// Names returns what Open accepts, Auto first.
func Names() []string { return []string{Auto, direct.Engine, uring.Engine} }

// Open opens the file or block device at path with the engine of that name.
// An engine other than Auto is that engine or an error, so that a measurement
// is of what was asked for.
func Open(path, name string, o Options) (blockdev.Device, error) {
	return open(path, name, o, uring.Available)
}

func open(path, name string, o Options, available func() error) (blockdev.Device, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if name == Auto {
		name = uring.Engine
		if err := available(); err != nil {
			o.Log.Warn("using blocking I/O instead of io_uring", "device", path, "reason", err)
			name = direct.Engine
		}
	}
	switch name {
	case direct.Engine:
		return direct.Open(path, direct.Options{ReadOnly: o.ReadOnly})
	case uring.Engine:
		return uring.Open(path, uring.Options{ReadOnly: o.ReadOnly, Log: o.Log})
	}
	return nil, fmt.Errorf("opening %s: no I/O engine %q: want one of %s", path, name, strings.Join(Names(), ", "))
}
