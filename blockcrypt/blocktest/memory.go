// Package blocktest holds block devices that fail on purpose, and Suite, which
// checks any blockdev.Device against its contract.
//
// Memory is a drive in RAM that keeps a journal: a test runs its code once,
// then looks at the drive as a power cut after each single operation would
// have left it (Cuts), with every kind of luck for writes that were not yet
// flushed. It is for tests: nothing here is fast.
package blocktest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"sealbay/blockcrypt/blockdev"
)

// Options shapes a Memory. The zero value is a writable drive with sectors of
// 512 bytes on a 4096 byte grid that completes everything in order.
type Options struct {
	Path     string // default "memory"
	Sector   int    // bytes; default 512
	Physical int    // bytes; default 4096
	Align    int    // bytes; default 1
	ReadOnly bool
	// NoDiscard takes the drive's Discard away.
	NoDiscard bool
	// Seed, if not 0, lets requests complete in a random order, and some
	// later than they could.
	Seed uint64
}

// Memory is a Device in RAM. What was never written reads as zeros; what was
// discarded reads as 0xDD.
type Memory struct {
	info blockdev.Info
	seed uint64

	mu      sync.Mutex // guards all below
	now     pages      // what a read sees
	base    pages      // what is on stable storage under the journal
	journal []Entry
	seq     int64 // of the next entry
	record  bool
	fault   func(n int, r *blockdev.Request) Fault
	count   int // operations since the fault was set
	closed  bool
}

// New makes a drive of size bytes, rounded down to whole sectors.
func New(size int64, o Options) *Memory {
	info := blockdev.Info{
		Path: or(o.Path, "memory"), Engine: "memory",
		Sector: or(o.Sector, 512), Physical: or(o.Physical, 4096), Align: or(o.Align, 1),
		ReadOnly: o.ReadOnly, Discard: !o.NoDiscard,
	}
	info.Physical = max(info.Physical, info.Sector)
	info.Size = size - size%int64(info.Sector)
	return &Memory{info: info, seed: o.Seed, now: pages{}, base: pages{}}
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// FromImage makes a drive that holds image on stable storage.
func FromImage(image []byte, o Options) *Memory {
	m := New(int64(len(image)), o)
	m.base.write(0, image[:m.info.Size])
	m.now = m.base.clone()
	return m
}

// Image returns every byte of the drive as a read would see it now.
func (m *Memory) Image() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	image := make([]byte, m.info.Size)
	m.now.read(0, image)
	return image
}

// Info describes the drive.
func (m *Memory) Info() blockdev.Info { return m.info }

// OpenQueue opens one way to the drive.
func (m *Memory) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, fmt.Errorf("opening a queue of %s: %w", m.info.Path, blockdev.ErrClosed)
	}
	o, err := o.Defaults()
	if err != nil {
		return nil, fmt.Errorf("opening a queue of %s: %w", m.info.Path, err)
	}
	q := &queue{m: m, o: o, slots: make([]*blockdev.Request, o.Depth)}
	if m.seed != 0 {
		q.rng = rand.New(rand.NewPCG(m.seed, uint64(q.o.Depth)))
	}
	return q, nil
}

// Close closes the drive. Its content stays readable by Image and Crash.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// run carries out one request; covers is the seq of the drive when it was
// submitted: what came before is what a Flush makes stable. It returns how
// many bytes were moved.
func (m *Memory) run(r *blockdev.Request, covers int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var f Fault
	if m.fault != nil {
		f = m.fault(m.count, r)
		m.count++
	}
	if f.Err != nil {
		moved := min(f.Moved, r.Span())
		if r.Op != blockdev.Flush { // one that failed made nothing stable
			m.apply(r, covers, moved)
		}
		return moved, f.Err
	}
	if r.Op == blockdev.Discard && !m.info.Discard {
		return 0, blockdev.ErrNotSupported
	}
	m.apply(r, covers, r.Span())
	return r.Span(), nil
}

// serve carries out one request for the kernel, which takes a short transfer
// for what it is: a number of bytes, no error.
func (m *Memory) serve(r *blockdev.Request) (moved int64, err error) {
	if err := blockdev.Check(r, &m.info); err != nil {
		return 0, err
	}
	m.mu.Lock()
	covers := m.seq
	m.mu.Unlock()
	moved, err = m.run(r, covers)
	if errors.Is(err, blockdev.ErrShort) {
		return moved, nil
	}
	return moved, err
}

func (m *Memory) apply(r *blockdev.Request, covers, n int64) {
	if r.Op == blockdev.Read {
		m.now.read(r.Offset, r.Buf[:n])
		return
	}
	if n == 0 && r.Op != blockdev.Flush {
		return
	}
	e := newEntry(r, n, m.seq, covers)
	m.seq++
	e.put(m.now, e.Offset, e.Length)
	m.journal = append(m.journal, e)
	if r.Op == blockdev.Flush && !m.record {
		m.fold()
	}
}
