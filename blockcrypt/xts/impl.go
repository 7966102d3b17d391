package xts

import (
	"fmt"
	"os"
	"strings"
)

// Env is the environment variable that forces an implementation by name.
const Env = "SEALBAY_XTS"

// engine is one implementation under one key. The buffers hold n sectors, at
// least one, and were checked; sector is in bytes, the IV of sector i is
// iv + i*step.
type engine interface {
	encrypt(dst, src []byte, sector, n int, iv, step uint64)
	decrypt(dst, src []byte, sector, n int, iv, step uint64)
	// wipe overwrites the key schedules. The engine is not used afterwards.
	wipe()
}

// implementation is a way to make an engine.
type implementation struct {
	name string
	// reason says what is missing here, "" if it runs.
	reason func() string
	// expand makes the engine of a data key and a tweak key of 16 or 32 bytes.
	expand func(data, tweak []byte) (engine, error)
}

// Implementation describes one implementation on this machine.
type Implementation struct {
	Name      string
	Supported bool
	Reason    string // what is missing, "" if supported
}

// Implementations lists all that this program was built with, the preferred
// first.
func Implementations() []Implementation {
	var all []Implementation
	for _, im := range registry() {
		why := im.reason()
		all = append(all, Implementation{Name: im.name, Supported: why == "", Reason: why})
	}
	return all
}

// registry lists the implementations in order of preference. generic is the
// last and always runs.
func registry() []implementation {
	return append(assembly(), implementation{
		name:   "generic",
		reason: func() string { return "" },
		expand: expandGeneric,
	})
}

// choose returns the implementation that the environment names, or the first
// that runs here.
func choose() (*implementation, error) {
	if name := os.Getenv(Env); name != "" {
		im, err := find(name)
		if err != nil {
			return nil, fmt.Errorf("%w (from the environment variable %s)", err, Env)
		}
		return im, nil
	}
	for _, im := range registry() {
		if im.reason() == "" {
			return &im, nil
		}
	}
	panic("xts: the generic implementation is missing")
}

// find returns the implementation of that name. The error says what it lacks,
// if it exists, and which ones run here.
func find(name string) (*implementation, error) {
	var here []string
	lacks := "unknown"
	for _, im := range registry() {
		why := im.reason()
		switch {
		case im.name == name && why == "":
			return &im, nil
		case im.name == name:
			lacks = why
		case why == "":
			here = append(here, im.name)
		}
	}
	return nil, fmt.Errorf("xts: implementation %q: %w: %s; have %s", name, ErrImpl, lacks, strings.Join(here, ", "))
}
