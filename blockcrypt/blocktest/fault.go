package blocktest

import (
	"errors"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

// ErrPowerCut is what every operation after a power cut fails with.
var ErrPowerCut = errors.New("power is off")

// Fault is how an operation fails. The zero value is no fault.
type Fault struct {
	Err error // a unix.Errno or a sentinel of blockdev, wrapped in an OpError
	// Moved is how many bytes reach the drive or the caller all the same.
	Moved int64
}

// Fail asks f about each operation from now on, reads included; n counts
// them from 0. nil ends it. Malformed requests are not asked about.
func (m *Memory) Fail(f func(n int, r *blockdev.Request) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault, m.count = f, 0
}

// FailAt lets the n-th operation from now, counted from 0, fail with err.
func (m *Memory) FailAt(n int, err error) {
	m.Fail(func(i int, _ *blockdev.Request) Fault {
		if i == n {
			return Fault{Err: err}
		}
		return Fault{}
	})
}

// ShortAt lets the n-th operation from now move only that many bytes.
func (m *Memory) ShortAt(n int, moved int64) {
	m.Fail(func(i int, _ *blockdev.Request) Fault {
		if i == n {
			return Fault{Err: blockdev.ErrShort, Moved: moved}
		}
		return Fault{}
	})
}

// PowerOffAt lets every operation from the n-th on fail with ErrPowerCut;
// Crash then shows what is left.
func (m *Memory) PowerOffAt(n int) {
	m.Fail(func(i int, _ *blockdev.Request) Fault {
		if i >= n {
			return Fault{Err: ErrPowerCut}
		}
		return Fault{}
	})
}

// Vanish pulls the drive: everything fails with ENODEV from now on.
func (m *Memory) Vanish() {
	m.Fail(func(int, *blockdev.Request) Fault { return Fault{Err: unix.ENODEV} })
}
