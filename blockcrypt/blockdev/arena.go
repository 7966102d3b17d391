package blockdev

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PageSize is the alignment of an Arena and of the buffers cut from it.
const PageSize = 4096

// Arena is memory outside the Go heap for I/O buffers: page-aligned, zeroed,
// never moved, left out of core files. An engine may register it with the
// kernel (io_uring_register(2), IORING_REGISTER_BUFFERS).
type Arena struct {
	mem []byte
	cut int
}

// NewArena maps size bytes, rounded up to whole pages.
func NewArena(size int) (*Arena, error) {
	if size <= 0 {
		return nil, fmt.Errorf("arena of %d bytes: size must be positive", size)
	}
	size = (size + PageSize - 1) &^ (PageSize - 1)
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("mapping an arena of %d bytes: %w", size, err)
	}
	if err := unix.Madvise(mem, unix.MADV_DONTDUMP); err != nil {
		_ = unix.Munmap(mem) // the first error is the one to tell
		return nil, fmt.Errorf("keeping an arena out of core files: %w", err)
	}
	return &Arena{mem: mem}, nil
}

// Cut returns the next n bytes, starting on a page. It panics when the arena
// is used up: whoever sized it made the mistake.
func (a *Arena) Cut(n int) []byte {
	if n <= 0 || n > len(a.mem)-a.cut {
		panic(fmt.Sprintf("blockdev: cutting %d bytes from an arena with %d left", n, len(a.mem)-a.cut))
	}
	b := a.mem[a.cut : a.cut+n : a.cut+n]
	a.cut += (n + PageSize - 1) &^ (PageSize - 1)
	a.cut = min(a.cut, len(a.mem))
	return b
}

// Bytes returns the whole arena.
func (a *Arena) Bytes() []byte { return a.mem }

// Contains reports whether buf lies wholly inside the arena.
func (a *Arena) Contains(buf []byte) bool {
	if a == nil || len(a.mem) == 0 || len(buf) == 0 {
		return false
	}
	lo := uintptr(unsafe.Pointer(unsafe.SliceData(a.mem)))
	p := uintptr(unsafe.Pointer(unsafe.SliceData(buf)))
	return p >= lo && p+uintptr(len(buf)) <= lo+uintptr(len(a.mem))
}

// Close wipes and unmaps the arena. No buffer cut from it may be used after.
func (a *Arena) Close() error {
	if a.mem == nil {
		return nil
	}
	clear(a.mem)
	mem := a.mem
	a.mem = nil
	return unix.Munmap(mem)
}
