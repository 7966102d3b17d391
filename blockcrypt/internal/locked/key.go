// Package locked holds key bytes outside the Go heap: locked in RAM where the
// system allows it, left out of core files and of children, wiped when done
// with. The collector neither moves nor copies them.
//
// What Go's own hash functions copy of a key on their way is beyond its reach.
package locked

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Bytes is secret memory. It is not comparable and prints nothing of itself.
type Bytes struct {
	_      [0]func() // not comparable
	mem    []byte
	n      int
	locked bool
}

// New returns n zeroed bytes. Memory that cannot be locked (RLIMIT_MEMLOCK,
// see getrlimit(2)) is handed out all the same: refusing to open a drive
// would lose more than a page that may be swapped out, and an appliance has no
// swap. Locked tells which it is.
func New(n int) (*Bytes, error) {
	page := unix.Getpagesize()
	size := (n + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, max(size, page), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes for a key: %w", n, err)
	}
	b := &Bytes{mem: mem, n: n}
	if err := unix.Madvise(mem, unix.MADV_DONTDUMP); err != nil {
		return nil, fmt.Errorf("keeping a key out of core files: %w", closing(err, b))
	}
	if err := unix.Madvise(mem, unix.MADV_DONTFORK); err != nil {
		return nil, fmt.Errorf("keeping a key from children: %w", closing(err, b))
	}
	b.locked = unix.Mlock(mem) == nil
	return b, nil
}

func closing(err error, b *Bytes) error {
	b.Close()
	return err
}

// Bytes returns the memory itself, valid until Close.
func (b *Bytes) Bytes() []byte { return b.mem[:b.n:b.n] }

// Locked reports whether the memory is locked in RAM.
func (b *Bytes) Locked() bool { return b.locked }

// Close wipes the memory and gives it back. Closing twice is harmless.
func (b *Bytes) Close() {
	if b == nil || b.mem == nil {
		return
	}
	clear(b.mem)
	runtime.KeepAlive(b.mem)
	mem := b.mem
	b.mem, b.n = nil, 0
	if err := unix.Munmap(mem); err != nil {
		panic("locked: unmapping a key: " + err.Error()) // only a wrong address can fail
	}
}

// String returns a placeholder, so that no log shows a key.
func (b *Bytes) String() string { return "secret bytes" }

// GoString is String, for %#v.
func (b *Bytes) GoString() string { return b.String() }
