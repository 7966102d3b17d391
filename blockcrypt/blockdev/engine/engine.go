// Package engine opens a device with the I/O engine of a given name: the one
// way in for programs that let their users choose.
package engine

import (
	"fmt"
	"log/slog"
	"strings"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
)

// Auto is the fastest engine that works here; what it fell back from is said
// in the log.
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
func Names() []string { return []string{Auto, direct.Engine} }

// Open opens the file or block device at path with the engine of that name.
// An engine other than Auto is that engine or an error, so that a measurement
// is of what was asked for.
func Open(path, name string, o Options) (blockdev.Device, error) {
	switch name {
	case Auto, direct.Engine:
		return direct.Open(path, direct.Options{ReadOnly: o.ReadOnly})
	}
	return nil, fmt.Errorf("opening %s: no I/O engine %q: want one of %s", path, name, strings.Join(Names(), ", "))
}
