// Package direct is the plainest engine: blocking O_DIRECT system calls on a
// file or block device. It works on every kernel and is what the others fall
// back to.
//
// A queue of depth 1 makes its call on the thread that submits, with no
// goroutine in between. A deeper queue has one thread per request in flight.
package direct

import (
	"fmt"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/internal/osdev"
)

// Engine is the name of this engine in blockdev.Info.
const Engine = "direct"

// Options shapes a device.
type Options struct {
	// ReadOnly opens for reading only, and without exclusion: a device that
	// another has mounted or opened can be looked at.
	ReadOnly bool
}

type device struct{ node *osdev.Node }

// Open opens the file or block device at path for direct I/O.
//
// For writing, the device is taken exclusively: blockdev.ErrBusy says that it
// is mounted, held or opened by another. Size, sector and buffer alignment
// are asked from the kernel; a file that does not end on a whole sector is
// used up to the last whole one.
func Open(path string, o Options) (blockdev.Device, error) {
	n, err := osdev.Open(path, Engine, o.ReadOnly)
	if err != nil {
		return nil, err
	}
	return &device{n}, nil
}

func (d *device) Info() blockdev.Info { return d.node.Info }

func (d *device) Close() error { return d.node.Close() }

func (d *device) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	if d.node.Closed() {
		return nil, fmt.Errorf("opening a queue of %s: %w", d.node.Info.Path, blockdev.ErrClosed)
	}
	o, err := o.Defaults()
	if err != nil {
		return nil, fmt.Errorf("opening a queue of %s: %w", d.node.Info.Path, err)
	}
	return NewQueue(d.node, o), nil
}

// NewQueue is for the other engines: a queue of n where theirs does not do.
// o has passed Defaults.
func NewQueue(n *osdev.Node, o blockdev.QueueOptions) blockdev.Queue {
	if o.Depth == 1 {
		return newInline(n, o)
	}
	return newPool(n, o)
}
