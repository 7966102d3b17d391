// Package uring is the fast engine: requests go to the kernel in batches over
// an io_uring, from registered memory to a registered file, and completions
// come back without an interrupt to the thread.
//
// A queue belongs to the thread that opened it: its goroutine must be locked
// to its thread (runtime.LockOSThread) from OpenQueue to Close, unless
// QueueOptions.AnyThread is set, which gives a plain queue of package direct.
// Submit only prepares; the kernel is entered once per Reap, for what was
// submitted and what is waited for. Reap with no room hands over and returns.
//
// With little in flight, Reap looks for completions for up to 50 us before it
// lets the thread sleep, as long as the device is that fast. The device itself
// is not polled, nor commanded past the block layer, unless Options asks for
// it and the device offers it.
package uring

import (
	"errors"
	"fmt"
	"log/slog"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
	"sealbay/blockcrypt/blockdev/internal/osdev"
)

// Engine is the name of this engine in blockdev.Info.
const Engine = "io_uring"

// Options shapes a device.
type Options struct {
	// ReadOnly opens for reading only, without exclusion.
	ReadOnly bool
	// Poll waits for completions by asking the drive over and over, where
	// the drive has queues for it: shorter waits for a whole core. Flush,
	// Discard and WriteZeroes then block the thread.
	Poll bool
	// Passthrough sends reads and writes to a whole NVMe namespace as its own
	// commands, past the block layer and the page cache: other programs that
	// read the block device meanwhile may see old data.
	Passthrough bool
	// Log takes what does not stop the work: memory that could not be
	// registered. nil is slog.Default.
	Log *slog.Logger
}

type device struct {
	node *osdev.Node
	o    Options // Poll and Passthrough only where the device offers them
	nvme *namespace
	// blocks: the device takes no request without blocking, so io_uring
	// would give each to a worker thread, which for one at a time is slower
	// than to block: 6.8 us against 2.9 for 4 KiB on zram.
	blocks bool
}

// Open opens the file or block device at path, as direct.Open does. It fails
// where the kernel has no io_uring for this process.
func Open(path string, o Options) (blockdev.Device, error) {
	if err := Available(); err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	n, err := osdev.Open(path, Engine, o.ReadOnly)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	d := &device{node: n, o: o}
	d.ask()
	return d, nil
}

// ask looks whether the device offers what Options want, and says in the log
// what it does not.
func (d *device) ask() {
	path := d.node.Info.Path
	if d.o.Poll && !polls(d.node) {
		d.o.Log.Warn("the device has no queues that can be polled: waiting for interrupts", "device", path)
		d.o.Poll = false
	}
	if d.o.Passthrough {
		ns, err := openNamespace(d.node)
		if err != nil {
			d.o.Log.Warn("no NVMe commands past the block layer: going through it", "device", path, "reason", err)
		}
		d.nvme = ns
	}
	switch d.blocks = d.node.Blocks(); {
	case d.nvme != nil && d.o.Poll:
		d.node.Info.Engine += "+nvme+poll"
	case d.nvme != nil:
		d.node.Info.Engine += "+nvme"
	case d.o.Poll:
		d.node.Info.Engine += "+poll"
	case d.blocks:
		d.node.Info.Engine += ", blocking at depth 1"
	}
}

func (d *device) Info() blockdev.Info { return d.node.Info }

func (d *device) Close() error {
	if d.nvme == nil || d.node.Closed() {
		return d.node.Close()
	}
	return errors.Join(d.nvme.file.Close(), d.node.Close())
}

func (d *device) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	if d.node.Closed() {
		return nil, fmt.Errorf("opening a queue of %s: %w", d.node.Info.Path, blockdev.ErrClosed)
	}
	o, err := o.Defaults()
	if err != nil {
		return nil, fmt.Errorf("opening a queue of %s: %w", d.node.Info.Path, err)
	}
	if o.AnyThread || d.blocks && o.Depth == 1 {
		return direct.NewQueue(d.node, o), nil
	}
	q, err := newQueue(d, o)
	if err != nil {
		return nil, fmt.Errorf("opening a queue of %s: %w", d.node.Info.Path, err)
	}
	return q, nil
}
